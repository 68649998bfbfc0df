// Sends declarations of which only the newest counts: one under way, at most one waiting.

export class Latest<T> {
  #next: { value: T } | undefined;
  #running = false;

  /** `send` failing is its own business: it must not throw for what the next declaration mends. */
  constructor(private readonly send: (value: T) => Promise<void>) {}

  /** Whether a newer declaration waits. */
  get superseded(): boolean {
    return this.#next !== undefined;
  }

  declare(value: T): void {
    this.#next = { value };
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#next !== undefined) {
        const { value } = this.#next;
        this.#next = undefined;
        await this.send(value);
      }
    } finally {
      this.#running = false;
    }
  }
}
