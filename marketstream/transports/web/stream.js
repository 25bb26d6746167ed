/**
 * The connection: one EventSource at a time, and what to do when it ends.
 *
 * A cut connection is the browser's to repair. An answer other than 200 ends an EventSource for good and
 * hides why, so the same address is asked once more by fetch for the reason, and a fresh token follows.
 */

const BACKOFF_S = [1, 2, 4, 8, 15];
const SILENCE_MS = 75_000; // two heartbeats and a half: the connection is dead, though nobody said so
const WATCH_MS = 5000;

export const wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** The JSON at an address of this server; throws when there is none. */
export async function getJson(url) {
  const response = await fetch(url, { cache: "no-store" });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return response.json();
}

/**
 * Follows a set of symbols until told to stop.
 *
 * `on.price(price)`, `on.status(status)` and `on.error(text)` get what the server says; `on.state(state, reason)`
 * gets connecting, live, reconnecting or closed.
 */
export class Stream {
  #on;
  #source = null;
  #token = null;
  #symbols = [];
  #lastId = "";
  #attempt = 0;
  #turn = 0; // raised by everything that makes an unfinished attempt obsolete
  #heardAt = 0;
  #beats = false; // whether this stream has heartbeats: without them silence may be a quiet market

  constructor(on) {
    this.#on = on;
    setInterval(() => this.#watch(), WATCH_MS);
  }

  /** Follows another set of symbols. The cursor is dropped: a new symbol may have changed before it. */
  follow(symbols) {
    this.#symbols = symbols;
    this.#lastId = "";
    this.resume();
  }

  resume() {
    this.#attempt = 0;
    if (this.#symbols.length > 0) this.#open("connecting", "");
    else this.stop("connecting", "waiting for the first symbol");
  }

  stop(state, reason) {
    this.#turn += 1;
    this.#source?.close();
    this.#source = null;
    this.#on.state(state, reason);
  }

  async #open(state, reason) {
    this.stop(state, reason);
    const turn = this.#turn;
    try {
      this.#token ??= (await getJson("/dev/token")).token;
    } catch {
      if (turn === this.#turn) this.#retry("no token: the server does not answer");
      return;
    }
    if (turn !== this.#turn) return;
    const query = new URLSearchParams({ symbols: this.#symbols.join(","), token: this.#token });
    if (this.#lastId) query.set("last_event_id", this.#lastId);
    this.#listen(`/market-data/stream?${query}`);
  }

  #listen(url) {
    const source = new EventSource(url);
    this.#source = source;
    this.#heardAt = Date.now();
    this.#beats = false;
    const hear = (name, then) => source.addEventListener(name, (event) => {
      if (source !== this.#source) return;
      this.#heardAt = Date.now();
      this.#attempt = 0;
      then(JSON.parse(event.data), event.lastEventId);
    });
    source.addEventListener("open", () => this.#on.state("live", ""));
    hear("price", (price, id) => {
      this.#lastId = id;
      // A stored value may be old: the id says when it was published, in microseconds after the "@".
      this.#on.price({ ...price, publishedAt: Number(id.split("@")[1]) / 1000 || Date.now() });
    });
    hear("status", this.#on.status);
    hear("heartbeat", () => { this.#beats = true; });
    hear("subscribed", ({ errors }) => { if (errors?.length > 0) this.#on.error(errors.join("; ")); });
    hear("token_expiring", () => this.#renew("the token is about to end"));
    source.addEventListener("error", (event) => {
      if (source !== this.#source) return;
      if (event instanceof MessageEvent) this.#told(JSON.parse(event.data));
      else if (source.readyState === EventSource.CLOSED) this.#refused(url);
      else this.#on.state("reconnecting", "the stream was cut");
    });
  }

  /** The server's own `error` event, which shares its name with the browser's. */
  #told({ code, message }) {
    if (code === "TOKEN_EXPIRED") this.#renew("the token has ended");
    else this.#on.error(`${code}: ${message}`);
  }

  #renew(reason) {
    this.#token = null;
    this.#open("reconnecting", reason);
  }

  async #refused(url) {
    this.stop("reconnecting", "the stream was refused");
    const turn = this.#turn;
    const aborter = new AbortController();
    let reason = "the server does not answer";
    let final = false;
    try {
      const response = await fetch(url, { cache: "no-store", signal: aborter.signal });
      const { error } = response.ok ? {} : await response.json();
      reason = error ? `${response.status} ${error.code}: ${error.message}` : "refused once, then accepted";
      final = response.status === 400 || response.status === 403;
    } catch {
      // No answer, or one that is not ours: the reason stays as it is.
    }
    aborter.abort();
    if (turn !== this.#turn) return;
    this.#token = null;
    // Asking for the same symbols again would be answered the same; another set or Resume asks anew.
    if (final) this.stop("closed", reason);
    else this.#retry(reason);
  }

  async #retry(reason) {
    const seconds = BACKOFF_S[Math.min(this.#attempt, BACKOFF_S.length - 1)];
    this.#attempt += 1;
    this.stop("reconnecting", `${reason}; next try in ${seconds} s`);
    const turn = this.#turn;
    await wait(seconds * 1000);
    if (turn === this.#turn) this.#open("reconnecting", reason);
  }

  #watch() {
    if (!this.#beats || this.#source?.readyState !== EventSource.OPEN) return;
    if (Date.now() - this.#heardAt > SILENCE_MS) this.#open("reconnecting", "nothing was heard, not even a heartbeat");
  }
}
