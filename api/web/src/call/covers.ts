// Which slots' videos nobody sees: somebody else can be let into those.
import type { SlotView } from './slots';

/**
 * A page's change is drawn in the next frame, handed to the compositor, and on the screen by the time it has taken the
 * frame after that: when the third one is asked for.
 */
const FRAMES = 3;
/** A page that is not drawn gets no frames, or few; this long it is waited for. */
const AT_MOST_MS = 300;

export class Covers {
  readonly #put = new Map<string, Promise<void>>();

  constructor(private readonly drawn: () => Promise<void> = painted) {}

  /** The page is told to look like this. */
  update(slots: readonly SlotView[]): void {
    for (const { mid, shown, held } of slots) {
      if (shown !== null && !held) this.#put.delete(mid);
      else if (!this.#put.has(mid)) this.#put.set(mid, this.drawn());
    }
  }

  /** Done when a slot's video is not on the screen any more, covered or put away. */
  unseen(mid: string): Promise<void> {
    return this.#put.get(mid) ?? Promise.resolve();
  }
}

/** Done when what has just been changed on the page is on the screen. */
function painted(): Promise<void> {
  if (document.visibilityState === 'hidden') return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, AT_MOST_MS);
    const wait = (left: number): void => {
      requestAnimationFrame(() => {
        if (left === 1) resolve();
        else wait(left - 1);
      });
    };
    wait(FRAMES);
  });
}
