/** Ids that are remembered, the newest ones. */
const CAPACITY = 1_000;

/** Remembers who has been given what, for as many ids as fit. */
export class Seen {
  readonly #given = new Map<string, WeakSet<object>>();

  /** Whether it is the first time that this one is given what has this id; the next time it is not. */
  isFirst(id: string, who: object): boolean {
    const given = this.#given.get(id) ?? this.#add(id);
    if (given.has(who)) return false;
    given.add(who);
    return true;
  }

  #add(id: string): WeakSet<object> {
    const [oldest] = this.#given.keys();
    if (oldest !== undefined && this.#given.size >= CAPACITY) this.#given.delete(oldest);
    const given = new WeakSet();
    this.#given.set(id, given);
    return given;
  }
}
