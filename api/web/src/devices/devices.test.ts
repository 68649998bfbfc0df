import { describe, expect, it } from 'vitest';

import { explain } from './faults';
import { level, needle } from './level';

describe('explain', () => {
  it('names the cause and the fix', () => {
    const denied = explain('camera', new DOMException('Permission denied', 'NotAllowedError'), 'firefox');
    expect(denied.cause).toMatch(/browser blocks the camera/u);
    expect(denied.fix).toMatch(/address/u);
    expect(explain('microphone', new DOMException('', 'NotReadableError'), 'chrome').cause).toMatch(/in use/u);
    expect(explain('microphone', new DOMException('', 'NotFoundError'), 'chrome').cause).toMatch(/No microphone/u);
  });

  it('tells the system from the browser', () => {
    const fault = explain('camera', new DOMException('Permission denied by system', 'NotAllowedError'), 'chrome');
    expect(fault.cause).toMatch(/computer/u);
  });

  it('knows a page that is not secure', () => {
    expect(explain('camera', undefined, 'chrome').fix).toMatch(/https/u);
  });
});

describe('level', () => {
  it('is 0 for silence and 1 for full scale', () => {
    expect(level(new Float32Array(8))).toBe(0);
    expect(level(new Float32Array(8).fill(1))).toBe(1);
    expect(level(new Float32Array(8).fill(0.03))).toBeCloseTo(0.49, 1);
  });

  it('falls slowly', () => {
    expect(needle(1, 0, 100)).toBeCloseTo(0.8);
    expect(needle(0.2, 0.9, 100)).toBe(0.9);
  });
});
