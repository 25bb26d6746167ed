/**
 * Does one step after another until there is nothing left to do, and never two at a time.
 *
 * The first step is taken in a microtask, so changes of one turn are seen together.
 */
export class Pump {
  readonly #step: () => Promise<boolean>;
  #running: Promise<void> | undefined;
  #asked = false;

  /** @param step - does one thing; resolves with whether there was one to do */
  constructor(step: () => Promise<boolean>) {
    this.#step = step;
  }

  /** Starts, or joins what runs already; resolves when all is done and rejects with what a step threw. */
  run(): Promise<void> {
    this.#asked = true;
    return (this.#running ??= Promise.resolve().then(() => this.#work()));
  }

  async #work(): Promise<void> {
    try {
      // What is asked for while a step finds nothing to do must not be missed.
      while (this.#asked) {
        this.#asked = false;
        while (await this.#step());
      }
    } finally {
      this.#running = undefined;
    }
  }
}
