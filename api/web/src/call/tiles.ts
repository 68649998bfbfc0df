// Which tiles there are, in which order, and what is asked of the server for them. Pure.
import type { Interest, VideoSource, WantedTrack } from '../protocol/messages';
import type { Rect } from './grid';
import { hasTrack, isMuted, type Roster } from './roster';

export interface Tile {
  /** Stable while the tile exists. */
  key: string;
  participant: string;
  source: VideoSource;
  name: string;
  /** Our own picture. */
  self: boolean;
  /** The server says that nothing is heard of them. */
  muted: boolean;
  reconnecting: boolean;
}

/** No more tiles on one page: more faces than that are too small to read, and cost a decoder each. */
export const MAX_TILES = 25;

/** Shared screens first, then the others, ourselves last. */
export function tilesOf(roster: Roster, self: string | undefined): Tile[] {
  const screens: Tile[] = [];
  const others: Tile[] = [];
  const own: Tile[] = [];
  for (const member of roster.members.values()) {
    const common = {
      participant: member.id,
      self: member.id === self,
      muted: isMuted(member),
      reconnecting: member.reconnecting === true,
    };
    const camera: Tile = { ...common, key: `${member.id}/camera`, source: 'camera', name: member.name };
    (camera.self ? own : others).push(camera);
    if (hasTrack(member, 'screen') && !camera.self) {
      screens.push({ ...common, key: `${member.id}/screen`, source: 'screen', name: `${member.name} – screen`, muted: false });
    }
  }
  return [...screens, ...others, ...own];
}

export interface Page {
  tiles: Tile[];
  page: number;
  pages: number;
}

/** The tiles of one page; a page past the end is the last one. */
export function pageOf(tiles: Tile[], page: number): Page {
  const pages = Math.max(1, Math.ceil(tiles.length / MAX_TILES));
  const shown = Math.min(Math.max(0, page), pages - 1);
  return { tiles: tiles.slice(shown * MAX_TILES, (shown + 1) * MAX_TILES), page: shown, pages };
}

/** Asks for what the tiles show: screens first, then as on the page. `scale` is device pixels per CSS pixel. */
export function interestOf(tiles: readonly Tile[], rects: readonly Rect[], scale: number): Interest {
  const tracks: WantedTrack[] = [];
  tiles.forEach((tile, index) => {
    if (tile.self) return;
    const rect = rects[index];
    tracks.push({
      participant: tile.participant,
      source: tile.source,
      width: pixels(rect?.width ?? 0, scale),
      height: pixels(rect?.height ?? 0, scale),
    });
  });
  return { video: { mode: 'tracks', tracks }, audio: true };
}

function pixels(length: number, scale: number): number {
  return Math.min(0xffff, Math.round(length * scale));
}

/** One or two letters for a tile without a picture. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  const first = words[0];
  if (first === undefined) return '?';
  const last = words.length > 1 ? words.at(-1) : undefined;
  return [first, last].map((word) => (word === undefined ? '' : ([...word][0] ?? ''))).join('').toLocaleUpperCase();
}

/** One of `count` colours, the same for the same person everywhere. */
export function hueOf(participant: string, count: number): number {
  let hash = 0;
  for (const char of participant) hash = (Math.imul(hash, 31) + (char.codePointAt(0) ?? 0)) >>> 0;
  return hash % count;
}
