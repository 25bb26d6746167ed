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
  /** Whether the last piece ended in a carriage return. */
  #afterReturn = false;

  /** The events that are complete with this piece. */
  push(text: string): StreamEvent[] {
    // A carriage return ends its line at once: the event may be complete. A line feed that follows belongs to it.
    const piece = this.#afterReturn ? text.replace(/^\n/, "") : text;
    if (text) this.#afterReturn = text.endsWith("\r");
    const blocks = (this.#rest + piece.replace(/\r\n?/g, "\n")).split("\n\n");
    this.#rest = blocks.pop() as string;
    return blocks.flatMap(parseBlock);
  }
}

/** The event of some lines; none when they hold no data. */
function parseBlock(block: string): StreamEvent[] {
  const lines = block.split("\n").map((line) => /^([^:]*):? ?([^]*)$/.exec(line) ?? []);
  const values = (name: string): string[] => lines.filter(([, field]) => field === name).map(([, , value = ""]) => value);
  const data = values("data");
  const id = values("id").filter((value) => !value.includes("\0")).pop();
  return data.length > 0 ? [{ name: values("event").pop() || "message", data: data.join("\n"), id }] : [];
}
