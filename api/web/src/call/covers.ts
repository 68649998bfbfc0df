// Which slots' videos nobody sees: somebody else can be let into those.
import type { SlotView } from './slots';

/**
 * A page's change is drawn in the next frame, handed to the compositor, and on the screen by the time it has taken the
 * frame after that: when the third one is asked for.
 */
const FRAMES = 3;

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

/** Done when what has just been changed on the page is on the screen, or nobody looks. */
function painted(): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      document.removeEventListener('visibilitychange', look);
      resolve();
    };
    // A hidden page is not drawn.
    const look = (): void => {
      if (document.visibilityState === 'hidden') done();
    };
    const wait = (left: number): void => void requestAnimationFrame(() => (left === 1 ? done() : wait(left - 1)));
    document.addEventListener('visibilitychange', look);
    wait(FRAMES);
    look();
  });
}
