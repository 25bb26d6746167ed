import type { Timer } from "../../src/core/timer.js";

interface Alarm {
  readonly at: number;
  readonly task: () => void;
}

/** A clock that stands still until it is told to go on. */
export class FakeClock {
  now = 0;
  readonly #alarms = new Set<Alarm>();

  readonly timer: Timer = (ms, task) => {
    const alarm = { at: this.now + ms, task };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  };

  /** Milliseconds until each alarm that is set, the soonest first. */
  get waiting(): number[] {
    return [...this.#alarms].map(({ at }) => at - this.now).sort((one, other) => one - other);
  }

  /** Goes on, and lets everything happen that is due, in order. */
  async advance(ms: number): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      await settle();
      const [next] = [...this.#alarms].filter(({ at }) => at <= end).sort((one, other) => one.at - other.at);
      if (!next) break;
      this.now = next.at;
      this.#alarms.delete(next);
      next.task();
    }
    this.now = end;
  }
}

/** Lets every promise that can settle do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
