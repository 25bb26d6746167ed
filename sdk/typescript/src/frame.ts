const waiting = new Set<() => void>();
let cancel: (() => void) | undefined;

/**
 * Runs a task with all others in the next animation frame, once however often it was asked for, so that
 * everything that changed is drawn together. Where there are no frames it takes 16 ms.
 */
export function onFrame(task: () => void): void {
  waiting.add(task);
  cancel ??= typeof requestAnimationFrame === "function" ? viaFrame() : viaTimer();
}

/** Forgets a task that waits. */
export function offFrame(task: () => void): void {
  waiting.delete(task);
  if (waiting.size > 0) return;
  cancel?.();
  cancel = undefined;
}

function flush(): void {
  cancel = undefined;
  const tasks = [...waiting];
  waiting.clear();
  for (const task of tasks) task();
}

function viaFrame(): () => void {
  const handle = requestAnimationFrame(flush);
  return () => cancelAnimationFrame(handle);
}

function viaTimer(): () => void {
  const handle = setTimeout(flush, 16);
  return () => clearTimeout(handle);
}
