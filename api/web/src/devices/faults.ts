// Why a camera or microphone can't be used, and what to do about it, in words. Pure.

export type DeviceKind = 'camera' | 'microphone';

export interface Fault {
  cause: string;
  fix: string;
}

/** `error` is what getUserMedia was refused with; undefined where the browser offers no devices at all. */
export function explain(kind: DeviceKind, error: unknown, browser: string): Fault {
  const name = error instanceof Error || isNamed(error) ? error.name : 'Missing';
  const message = isNamed(error) ? error.message : '';
  switch (name) {
    case 'NotAllowedError':
      return /system/iu.test(message) ? blockedBySystem(kind) : blocked(kind, browser);
    case 'NotFoundError':
    case 'OverconstrainedError':
      return { cause: `No ${kind} was found.`, fix: `Plug one in, or choose another one. You can join without it.` };
    case 'NotReadableError':
    case 'AbortError':
      return {
        cause: `Your ${kind} is in use or does not answer.`,
        fix: `Close other programs and tabs that use it, or unplug it and plug it in again.`,
      };
    case 'Missing':
    case 'SecurityError':
      return {
        cause: `This page may not use your ${kind}.`,
        fix: `Open the meeting through an address that begins with https.`,
      };
    default:
      return { cause: `Your ${kind} could not be started (${name}).`, fix: `Try again, or choose another one.` };
  }
}

function blocked(kind: DeviceKind, browser: string): Fault {
  const where: Record<string, string> = {
    chrome: 'Click the icon left of the address, allow it, and try again.',
    edge: 'Click the lock left of the address, allow it, and try again.',
    firefox: 'Click the crossed-out icon left of the address, remove the block, and try again.',
    safari: 'Choose Safari › Settings for This Website, allow it, and try again.',
  };
  return {
    cause: `Your browser blocks the ${kind}.`,
    fix: where[browser] ?? 'Allow it in the browser’s settings for this page, and try again.',
  };
}

function blockedBySystem(kind: DeviceKind): Fault {
  return {
    cause: `Your computer’s settings block the ${kind} for this browser.`,
    fix: `Allow it in the system’s privacy settings, and try again.`,
  };
}

function isNamed(error: unknown): error is { name: string; message: string } {
  return typeof error === 'object' && error !== null && 'name' in error && 'message' in error;
}
