/** What happened, in order and bounded. No document, no clock. */

/** How an entry is meant. */
export type Kind = "state" | "status" | "error" | "note";

export interface Entry {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly kind: Kind;
  /** What happened. */
  readonly text: string;
  /** To whom; entries of the same moment that say the same are one. */
  readonly names: readonly string[];
}

/** Entries that are kept. */
export const LIMIT = 200;
/** Milliseconds within which the same event of several symbols is one entry. */
const TOGETHER_MS = 1_000;
const SHOWN = 4;

export class EventLog {
  #entries: readonly Entry[] = [];

  /** Oldest first. */
  get entries(): readonly Entry[] {
    return this.#entries;
  }

  add(at: number, kind: Kind, text: string, name?: string): void {
    const names = name === undefined ? [] : [name];
    const last = this.#entries.at(-1);
    if (name !== undefined && last && sameEvent(last, { at, kind, text, names })) {
      const all = last.names.includes(name) ? last.names : [...last.names, name];
      this.#entries = [...this.#entries.slice(0, -1), { ...last, names: all }];
    } else {
      this.#entries = [...this.#entries, { at, kind, text, names }].slice(-LIMIT);
    }
  }

  clear(): void {
    this.#entries = [];
  }
}

/** The entry in words: `A, B, C, D and 96 more: stale`. */
export function describe({ text, names }: Pick<Entry, "text" | "names">): string {
  if (names.length === 0) return text;
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : "";
  return `${names.slice(0, SHOWN).join(", ")}${more}: ${text}`;
}

function sameEvent(one: Entry, other: Entry): boolean {
  const alike = one.kind === other.kind && one.text === other.text && one.names.length > 0;
  return alike && other.at - one.at < TOGETHER_MS;
}
