/** The snippets under "Try it": filled with this server's address and watched symbols, and copied by a button. */

/** Milliseconds that a button says what it did. */
const SAID_MS = 1_500;

export class Examples {
  readonly #sources: (readonly [node: HTMLElement, text: string])[];

  readonly #url: string;

  constructor(panel: HTMLElement, url: string, dev: boolean) {
    this.#url = url;
    const codes = [...panel.querySelectorAll<HTMLElement>("code[data-mode]")];
    for (const code of codes) code.parentElement?.toggleAttribute("hidden", code.dataset["mode"] !== (dev ? "dev" : "token"));
    this.#sources = [...panel.querySelectorAll("code")].map((node) => [node, node.textContent]);
    panel.addEventListener("click", ({ target }) => {
      const button = (target as Element).closest<HTMLButtonElement>("button.copy");
      if (button) void copy(button);
    });
  }

  fill(symbols: readonly string[]): void {
    const names = symbols.slice(0, 2).join() || "EUR/USD";
    for (const [node, text] of this.#sources) {
      node.textContent = text.replaceAll("ORIGIN", this.#url).replaceAll("SYMBOLS", names);
    }
  }
}

async function copy(button: HTMLButtonElement): Promise<void> {
  const code = button.closest("section")?.querySelector("pre:not([hidden]) code");
  if (!code) return;
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // Without the right to the clipboard the text is selected, one keystroke from being copied.
    getSelection()?.selectAllChildren(code);
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), SAID_MS);
}
