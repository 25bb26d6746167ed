/** A place for text in the document. */

/** How a value moved. */
export type Move = "up" | "down";

/** Milliseconds that a cell stays lit after its value moved. */
const GLOW_MS = 400;

/** Touches the document only when the text differs from what stands there. */
export class Cell {
  readonly node: HTMLElement;
  readonly #text = document.createTextNode("");
  #glowsUntil = 0;

  constructor(parent: ParentNode, place: string) {
    const node = parent.querySelector<HTMLElement>(place);
    if (!node) throw new Error(`the page has no ${place}`);
    this.node = node;
    node.replaceChildren(this.#text);
  }

  set text(value: string) {
    if (this.#text.data !== value) this.#text.data = value;
  }

  /** Lights the cell; the light goes out by `settle`, not by a timer for each cell. */
  glow(move: Move, now: number): void {
    this.#glowsUntil = now + GLOW_MS;
    mark(this.node, "glow", move);
  }

  settle(now: number): void {
    if (this.#glowsUntil === 0 || now < this.#glowsUntil) return;
    this.#glowsUntil = 0;
    delete this.node.dataset["glow"];
  }
}

/** Sets a data attribute that differs. */
export function mark(node: HTMLElement, name: string, value: string): void {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

/** How a value moved, if it did and was there before. */
export function moved(before: number | null | undefined, after: number | null | undefined): Move | undefined {
  if (before == null || after == null || before === after) return undefined;
  return after > before ? "up" : "down";
}
