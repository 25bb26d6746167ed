/** The field for a token: kept in this tab's session and nowhere else, least of all in the address. */

const KEY = "marketstream.token";

export interface TokenEvents {
  /** The user gave a token. */
  given(token: string): void;
  /** The user wants it forgotten. */
  forgotten(): void;
}

export class TokenField {
  readonly #field: HTMLInputElement;
  readonly #note: HTMLElement;
  readonly #forget: HTMLButtonElement;

  constructor(form: HTMLFormElement, events: TokenEvents) {
    this.#field = form.querySelector("input") as HTMLInputElement;
    this.#note = form.querySelector(".note") as HTMLElement;
    this.#forget = form.querySelector("button[type=button]") as HTMLButtonElement;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const token = this.#field.value.trim();
      if (!token) return this.#say("Paste a token first.", true);
      sessionStorage.setItem(KEY, token);
      this.#field.value = "";
      this.#say("", false);
      events.given(token);
    });
    this.#forget.addEventListener("click", () => {
      this.forget("");
      events.forgotten();
      this.#field.focus();
    });
    this.#say("", false);
  }

  /** The token of this tab, if it has one. */
  get token(): string | undefined {
    return sessionStorage.getItem(KEY) ?? undefined;
  }

  /** Forgets the token, and says why. */
  forget(reason: string): void {
    sessionStorage.removeItem(KEY);
    this.#field.value = "";
    this.#say(reason, reason !== "");
  }

  #say(text: string, wrong: boolean): void {
    const kept = this.token !== undefined;
    this.#note.textContent = text || (kept ? "Kept for this tab only." : "Its symbols and plan decide what you see.");
    this.#field.placeholder = kept ? "•••••••••••• in use" : "eyJ…";
    this.#field.setAttribute("aria-invalid", String(wrong));
    this.#forget.disabled = !kept;
  }
}
