import { describe, expect, it } from 'vitest';

import { faceToFace, grid, type Rect } from './grid';

function overlap(a: Rect, b: Rect): boolean {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}

describe('grid', () => {
  it.each([1, 2, 3, 4, 5, 7, 9, 12, 16, 25])('lays out %i tiles inside the area without overlap', (count) => {
    for (const area of [{ width: 1280, height: 640 }, { width: 360, height: 640 }, { width: 700, height: 700 }]) {
      const rects = grid(count, area);
      expect(rects).toHaveLength(count);
      for (const rect of rects) {
        expect(rect.left).toBeGreaterThanOrEqual(0);
        expect(rect.top).toBeGreaterThanOrEqual(0);
        expect(rect.left + rect.width).toBeLessThanOrEqual(area.width + 1);
        expect(rect.top + rect.height).toBeLessThanOrEqual(area.height + 1);
        expect(new Set(rects.map((one) => `${one.width}x${one.height}`)).size).toBe(1);
      }
      rects.forEach((a, index) => rects.slice(index + 1).forEach((b) => expect(overlap(a, b)).toBe(false)));
    }
  });

  it('puts tiles side by side on a wide stage and one above the other on a narrow one', () => {
    const [wideA, wideB] = grid(2, { width: 1200, height: 500 });
    expect(wideA?.top).toBe(wideB?.top);
    const [tallA, tallB] = grid(2, { width: 360, height: 700 });
    expect(tallA?.left).toBe(tallB?.left);
  });

  it('centres a last row that is not full', () => {
    const rects = grid(5, { width: 1280, height: 640 });
    const last = rects.slice(3);
    const left = last[0]?.left ?? 0;
    const right = 1280 - ((last[1]?.left ?? 0) + (last[1]?.width ?? 0));
    expect(Math.abs(left - right)).toBeLessThanOrEqual(2);
  });

  it('is empty without tiles or without room', () => {
    expect(grid(0, { width: 100, height: 100 })).toEqual([]);
    expect(grid(3, { width: 0, height: 100 })).toEqual([]);
  });
});

it('puts ourselves into the corner of the other one', () => {
  const [large, small] = faceToFace({ width: 1280, height: 640 });
  if (large === undefined || small === undefined) throw new Error('two rectangles');
  expect(small.left + small.width).toBeLessThan(large.left + large.width);
  expect(small.top + small.height).toBeLessThan(large.top + large.height);
  expect(small.width).toBeLessThan(large.width / 2);
});
