/** The one field that filters the rows while it is typed into, and adds symbols when it is entered. */

import { InvalidSymbolError } from "@marketstream/client";

import { parseSymbols } from "./symbols.js";

export interface FindEvents {
  /** Only symbols with this in them shall be shown; empty for all. */
  filter(text: string): void;
  /** These shall be watched. */
  add(symbols: readonly string[]): void;
  /** The user goes on to the rows. */
  down(): void;
}

export class FindField {
  readonly #field: HTMLInputElement;
  readonly #note: HTMLElement;
  readonly #events: FindEvents;

  constructor(form: HTMLFormElement, note: HTMLElement, events: FindEvents) {
    this.#field = form.querySelector("input") as HTMLInputElement;
    this.#note = note;
    this.#events = events;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#enter();
    });
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("keydown", (event) => this.#press(event));
    document.addEventListener("keydown", (event) => this.#shortcut(event));
  }

  /** The filter, in upper case. */
  get text(): string {
    return this.#field.value.trim().toUpperCase();
  }

  focus(): void {
    this.#field.focus();
  }

  /** Says something beside the field until it is typed into again. */
  say(text: string): void {
    this.#note.textContent = text;
  }

  clear(): void {
    this.#field.value = "";
    this.#changed();
  }

  #enter(): void {
    const { symbols, wrong } = parseSymbols(this.#field.value);
    this.#field.setAttribute("aria-invalid", String(wrong !== undefined));
    if (wrong !== undefined) return this.say(new InvalidSymbolError(wrong).message);
    this.clear();
    if (symbols.length > 0) this.#events.add(symbols);
  }

  #changed(): void {
    this.#field.setAttribute("aria-invalid", "false");
    this.say("");
    this.#events.filter(this.text);
  }

  #press(event: KeyboardEvent): void {
    if (event.key === "Escape") this.clear();
    else if (event.key === "ArrowDown") this.#events.down();
    else return;
    event.preventDefault();
  }

  #shortcut(event: KeyboardEvent): void {
    const typing = (event.target as Element).closest("input, textarea");
    if (typing || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "/") {
      event.preventDefault();
      this.#field.select();
      this.focus();
    } else if (event.key === "Escape") this.clear();
  }
}
