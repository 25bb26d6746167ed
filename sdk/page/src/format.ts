/** How numbers and times are written. Nothing here knows of the page. */

/** What stands where there is no value. */
export const NONE = "–";

const formats = new Map<number, Intl.NumberFormat>();
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A number with so many decimals, always: a column does not shift when a trailing zero comes. */
export function fixed(value: number | null | undefined, decimals: number): string {
  if (value === null || value === undefined) return NONE;
  let format = formats.get(decimals);
  if (!format) {
    format = new Intl.NumberFormat("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    formats.set(decimals, format);
  }
  return format.format(value).replace("-", "−");
}

/**
 * A text of so many places, filled from the left by blanks as wide as a digit: what stands at the right
 * edge of a column then keeps its beginning, and the layout does not shift.
 */
export function padded(text: string, places: number): string {
  return text.padStart(places, "\u2007");
}

/** A change in percent that carries its sign: `+0.04 %`, `−0.12 %`, `0.00 %`. */
export function percent(value: number | undefined): string {
  if (value === undefined) return "";
  const text = fixed(value, 2);
  const zero = /^−?0\.00$/.test(text);
  return `${zero ? "0.00" : value > 0 ? `+${text}` : text} %`;
}

/** A size in few characters, such as `1.5M`; empty where there is none. */
export function size(value: number | null | undefined): string {
  return value === null || value === undefined ? "" : compact.format(value);
}

/** The decimals that a number is printed with, 8 at most. */
export function decimalsOf(value: number | null | undefined): number {
  const [digits = "", exponent = "0"] = String(value ?? 0).split("e");
  return Math.min(8, Math.max(0, (digits.split(".")[1] ?? "").length - Number(exponent)));
}

/** A time span in the largest unit that fits: `0 s`, `59 s`, `3 min`, `4 h`, `12 d`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** How long a price took to get here. */
export function latency(ms: number | undefined): string {
  if (ms === undefined) return NONE;
  if (ms < 1) return "< 1 ms";
  return ms < 10_000 ? `${Math.round(ms)} ms` : duration(ms);
}

/** The time of day where the reader is, to the second. */
export function timeOfDay(at: number): string {
  return new Date(at).toLocaleTimeString("en-GB");
}
