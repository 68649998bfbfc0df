// What really stands on a page's screen: the compositor's own frames, picture and name together, as a person sees them.
import { inflateSync } from 'node:zlib';

/** Frames are taken this wide: enough for a colour in the middle of each tile. */
const WIDTH = 200;
/** Tiles without a picture are made of this. */
const EMPTY = [0, 0, 0];
/** How far a colour may be from someone's (sum of squares) to be theirs: the codec changes it, the scaling blurs it. */
const NEAR = 60 ** 2 * 3;

/**
 * Starts to look at the tiles of a call. `colours` maps names to [red, green, blue]; tiles without a picture are made black.
 * `seen` is what was seen so far, and `stop()` ends it: how many frames and whose pictures, and each time one lay under another's name.
 */
export async function look(page, colours) {
  await page.evaluate((empty) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(`[data-testid=stage] { --tile: rgb(${empty}) } [data-testid=stage] .initials { visibility: hidden }`);
    document.adoptedStyleSheets.push(sheet);
  }, EMPTY.join());
  const tiles = await page.evaluate(() => {
    const of = (tile) => {
      const { left, top, width, height } = tile.getBoundingClientRect();
      const name = tile.querySelector('[data-testid=label]').textContent.trim();
      return { name, x: (left + width / 2) / innerWidth, y: (top + height * 0.4) / innerHeight };
    };
    return [...document.querySelectorAll('[data-testid=tile]')].map(of);
  });
  const session = await page.context().newCDPSession(page);
  let drawn = false;
  const seen = { frames: 0, pictures: 0, names: new Set(), wrong: [] };
  session.on('Page.screencastFrame', ({ data, metadata, sessionId }) => {
    void session.send('Page.screencastFrameAck', { sessionId }).catch(() => undefined);
    const image = decode(Buffer.from(data, 'base64'));
    const points = tiles.map((tile) => ({ tile, whose: nearest({ ...colours, '': EMPTY }, image.at(tile.x, tile.y)) }));
    // The first frames may be of the page as it was before.
    drawn ||= points.some(({ whose }) => whose === '');
    if (!drawn) return;
    seen.frames += 1;
    for (const { tile, whose } of points) {
      if (whose === undefined || whose === '') continue;
      seen.pictures += 1;
      seen.names.add(whose);
      if (whose !== tile.name) seen.wrong.push({ tile: tile.name, picture: whose, at: Math.round(metadata.timestamp * 1000) });
    }
  });
  await session.send('Page.startScreencast', { format: 'png', maxWidth: WIDTH, maxHeight: WIDTH, everyNthFrame: 1 });
  return {
    seen,
    async stop() {
      await session.send('Page.stopScreencast');
      await session.detach();
      return seen;
    },
  };
}

function nearest(colours, [red, green, blue]) {
  const distance = ([r, g, b]) => (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
  const best = Object.keys(colours).reduce((best, name) => (distance(colours[name]) < distance(colours[best]) ? name : best));
  return distance(colours[best]) <= NEAR ? best : undefined;
}

/** A PNG of 8-bit RGB or RGBA, not interlaced (ISO/IEC 15948). `at(x, y)` takes shares of width and height. */
function decode(png) {
  const [width, height, channels] = [png.readUInt32BE(16), png.readUInt32BE(20), png[25] === 6 ? 4 : 3];
  const parts = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  const lines = inflateSync(Buffer.concat(parts));
  const stride = width * channels;
  for (let y = 0; y < height; y++) unfilter(lines, y, stride, channels);
  return {
    at(x, y) {
      const offset = Math.floor(y * height) * (stride + 1) + 1 + Math.floor(x * width) * channels;
      return [...lines.subarray(offset, offset + 3)];
    },
  };
}

/** Undoes the filter of one line in place (ISO/IEC 15948 §9). */
function unfilter(lines, y, stride, channels) {
  const start = y * (stride + 1) + 1;
  const kind = lines[start - 1];
  for (let x = 0; x < stride; x++) {
    const left = x >= channels ? lines[start + x - channels] : 0;
    const up = y > 0 ? lines[start + x - stride - 1] : 0;
    const corner = x >= channels && y > 0 ? lines[start + x - stride - 1 - channels] : 0;
    lines[start + x] += [0, left, up, (left + up) >> 1, paeth(left, up, corner)][kind];
  }
}

function paeth(left, up, corner) {
  const guess = left + up - corner;
  const [a, b, c] = [left, up, corner].map((value) => Math.abs(guess - value));
  if (a <= b && a <= c) return left;
  return b <= c ? up : corner;
}
