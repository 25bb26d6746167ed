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

  /** The events that are complete with this piece. */
  push(text: string): StreamEvent[] {
    // A carriage return at the end may be half of a line break.
    const blocks = (this.#rest + text).replace(/\r\n|\r(?!$)/g, "\n").split("\n\n");
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
