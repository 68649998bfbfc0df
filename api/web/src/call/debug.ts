// `window.plenary`: what browser tests, and people who report a fault, can read about the call. It changes nothing.
//
// Also there: performance marks `plenary:click-join` and `plenary:first-remote-frame`.
import type { Call } from './call.svelte';
import type { SlotView } from './slots';

export interface DebugTile {
  participant: string;
  source: string;
  name: string;
  /** The mid of the slot whose picture is in this tile; null without one. */
  slotMid: string | null;
  /** The name on the tile; our own, when it lies in the corner, says just "You". */
  label: string;
}

export interface Debug {
  state: string;
  participant: string | null;
  /** Offers sent on this connection. */
  offers: number;
  slots: SlotView[];
  tiles: DebugTile[];
}

export interface PlenaryHook {
  debug(): Debug;
  /** For `getStats`. */
  readonly pc: RTCPeerConnection | undefined;
}

declare global {
  interface Window {
    plenary?: PlenaryHook;
  }
}

export function installDebug(call: Call): () => void {
  const hook: PlenaryHook = {
    debug: () => describe(call),
    get pc() {
      return call.pc;
    },
  };
  window.plenary = hook;
  return () => {
    if (window.plenary === hook) delete window.plenary;
  };
}

function describe(call: Call): Debug {
  return {
    state: call.phase,
    participant: call.participant ?? null,
    offers: call.offers,
    slots: call.slots,
    tiles: call.tiles.map((tile) => ({
      participant: tile.participant,
      source: tile.source,
      name: tile.name,
      slotMid: tile.self ? null : (call.slotOf(tile.participant, tile.source) ?? null),
      label: tile.self ? `${tile.name} (you)` : tile.name,
    })),
  };
}
