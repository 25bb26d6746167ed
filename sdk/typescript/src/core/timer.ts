/** Calls a task after some milliseconds, unless what it returns is called before. */
export type Timer = (ms: number, task: () => void) => () => void;

/** The clock on the wall. */
export const realTimer: Timer = (ms, task) => {
  const handle = setTimeout(task, ms);
  return () => clearTimeout(handle);
};

/** Resolves after some milliseconds, or as soon as the signal, which is not yet, is aborted. */
export function pause(timer: Timer, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = timer(ms, done);
    signal.addEventListener("abort", done);
  });
}
