/** An event of a stream. */
export interface StreamEvent {
  readonly name: string;
  readonly data: string;
  /** The id that stood with it. */
  readonly id: string | undefined;
}

/** Takes a stream of server-sent events apart, however it was cut into pieces. */
export class EventStreamParser {
  #rest = "";
  #name = "";
  #data: string[] = [];
  #id: string | undefined;

  /** The events that are complete with this piece. */
  push(text: string): StreamEvent[] {
    const events: StreamEvent[] = [];
    const all = this.#rest + text;
    // A carriage return at the end may be half of a line break.
    const lines = (all.endsWith("\r") ? all.slice(0, -1) : all).split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + (all.endsWith("\r") ? "\r" : "");
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  #line(line: string): StreamEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return undefined;
  }

  #dispatch(): StreamEvent | undefined {
    const event = { name: this.#name || "message", data: this.#data.join("\n"), id: this.#id };
    const empty = this.#data.length === 0;
    this.#name = "";
    this.#data = [];
    this.#id = undefined;
    return empty ? undefined : event;
  }
}
