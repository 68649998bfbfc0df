// Where the tiles go. Pure: a count and an area make rectangles.

export interface Rect {
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Area {
  width: number;
  height: number;
}

const GAP = 10;
/** Tiles may be any shape between these; a camera picture is cropped to it. */
const WIDEST = 16 / 9;
const NARROWEST = 3 / 4;
/** One face alone may fill a phone held upright. */
const PHONE = 9 / 19;

/** Rectangles for `count` tiles, row by row, the last row centred; as large as they can be, no narrower in shape than `narrowest`. */
export function grid(count: number, area: Area, narrowest = NARROWEST): Rect[] {
  if (count < 1 || area.width <= 0 || area.height <= 0) return [];
  const columns = bestColumns(count, area, narrowest);
  const rows = Math.ceil(count / columns);
  const { width, height } = tileSize(columns, rows, area, narrowest);
  const top = (area.height - rows * height - (rows - 1) * GAP) / 2;
  return Array.from({ length: count }, (_, index) => {
    const row = Math.floor(index / columns);
    const inRow = Math.min(columns, count - row * columns);
    const left = (area.width - inRow * width - (inRow - 1) * GAP) / 2;
    return whole({ left: left + (index - row * columns) * (width + GAP), top: top + row * (height + GAP), width, height });
  });
}

/** Two people: the other one large, ourselves in the corner. The last rectangle is ours. */
export function faceToFace(area: Area): Rect[] {
  const [large] = grid(1, area, PHONE);
  if (large === undefined) return [];
  const portrait = area.width < area.height;
  const width = Math.min(Math.max(area.width * (portrait ? 0.3 : 0.2), 96), 280);
  const height = width / (portrait ? NARROWEST : WIDEST);
  const left = large.left + large.width - width - GAP * 1.6;
  return [large, whole({ left, top: large.top + large.height - height - GAP * 1.6, width, height })];
}

function bestColumns(count: number, area: Area, narrowest: number): number {
  let best = 1;
  let bestSize = -1;
  for (let columns = 1; columns <= count; columns++) {
    const { width, height } = tileSize(columns, Math.ceil(count / columns), area, narrowest);
    if (width * height > bestSize) {
      bestSize = width * height;
      best = columns;
    }
  }
  return best;
}

function tileSize(columns: number, rows: number, area: Area, narrowest: number): Area {
  const width = Math.max(0, (area.width - (columns - 1) * GAP) / columns);
  const height = Math.max(0, (area.height - (rows - 1) * GAP) / rows);
  const shape = Math.min(WIDEST, Math.max(narrowest, height > 0 ? width / height : WIDEST));
  return width / shape <= height ? { width, height: width / shape } : { width: height * shape, height };
}

function whole(rect: Rect): Rect {
  return {
    left: Math.round(rect.left),
    top: Math.round(rect.top),
    width: Math.floor(rect.width),
    height: Math.floor(rect.height),
  };
}
