/** The middle prices of the last two minutes, in so few points that a small chart can show them. */

/** Milliseconds that a chart looks back. */
export const SPAN_MS = 120_000;
/** Milliseconds that share one point. */
const STEP_MS = 500;

/** Times and values; a value of null is a gap. */
export type Points = [at: number[], mid: (number | null)[]];

/** Its size is bounded by the span, however fast prices come. */
export class History {
  readonly #at: number[] = [];
  readonly #mid: (number | null)[] = [];

  /** Takes the price of a moment; the last of each half second is kept, and the very first. */
  take(now: number, mid: number | null): void {
    const last = this.#at.length - 1;
    if (last > 0 && Math.floor((this.#at[last] ?? 0) / STEP_MS) === Math.floor(now / STEP_MS)) {
      this.#mid[last] = mid;
      return;
    }
    this.#at.push(now);
    this.#mid.push(mid);
    this.#forget(now - SPAN_MS);
  }

  /** From here on nothing is known, until the next price. */
  cut(now: number): void {
    if (this.#mid.at(-1) != null) this.take(now, null);
  }

  /** What there is to draw: from the beginning of the span, if it was known then, to this moment. */
  points(now: number): Points {
    this.#forget(now - SPAN_MS);
    const at = this.#at.map((each) => Math.max(each, now - SPAN_MS));
    const mid = [...this.#mid];
    const last = mid.at(-1);
    // A price holds until the next one.
    if (last != null && (at.at(-1) ?? now) < now) {
      at.push(now);
      mid.push(last);
    }
    return [at, mid];
  }

  /** Percent by which the last value differs from the first of the span; undefined without one. */
  get change(): number | undefined {
    const first = this.#mid.find((each) => each !== null);
    const last = this.#mid.findLast((each) => each !== null);
    return first && last != null ? ((last - first) / Math.abs(first)) * 100 : undefined;
  }

  /** Drops what ended before; the last point before still says where the line begins. */
  #forget(before: number): void {
    let gone = 0;
    while ((this.#at[gone + 1] ?? Infinity) <= before) gone += 1;
    this.#at.splice(0, gone);
    this.#mid.splice(0, gone);
  }
}
