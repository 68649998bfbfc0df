// Lets a value through at once, and during a storm of changes only the last one every so often.

export class Paced<T> {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #next: { value: T } | undefined;
  #last: string | undefined;

  constructor(
    private readonly everyMs: number,
    private readonly send: (value: T) => void,
  ) {}

  /** Values equal to the last one sent are dropped. */
  offer(value: T): void {
    this.#next = { value };
    if (this.#timer === undefined) this.#flush();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#next = undefined;
  }

  #flush(): void {
    const next = this.#next;
    this.#next = undefined;
    this.#timer = undefined;
    if (next === undefined) return;
    const text = JSON.stringify(next.value);
    if (text === this.#last) return;
    this.#last = text;
    this.#timer = setTimeout(() => this.#flush(), this.everyMs);
    this.send(next.value);
  }
}
