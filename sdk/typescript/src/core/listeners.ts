/** Calls something of the user's; what it throws is logged and harms nobody else. */
export function guarded(task: () => unknown): void {
  const log = (error: unknown): void => console.error("marketstream: a callback failed", error);
  try {
    const result = task();
    if (result instanceof Promise) result.catch(log);
  } catch (error) {
    log(error);
  }
}

/** Functions to call when something happens. */
export class Listeners<Arguments extends unknown[]> {
  readonly #all = new Set<{ readonly listener: (...args: Arguments) => void }>();

  /** Adds one, and returns what removes it again. */
  add(listener: (...args: Arguments) => void): () => void {
    const entry = { listener };
    this.#all.add(entry);
    return () => void this.#all.delete(entry);
  }

  /** Calls all that are there now. */
  emit(...args: Arguments): void {
    for (const entry of [...this.#all]) guarded(() => entry.listener(...args));
  }
}
