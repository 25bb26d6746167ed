import { readFileSync } from "node:fs";

const FOLDER = new URL("../../../../tests/golden/", import.meta.url);

/** The bytes of a frozen message, as text. */
export function golden(name: string): string {
  return readFileSync(new URL(name, FOLDER), "utf8");
}

/** A frozen file that is JSON. */
export function goldenJson<T>(name: string): T {
  return JSON.parse(golden(name)) as T;
}

/** What a frozen Socket.IO packet carries: the arguments of an event or of an answer. */
export function goldenPacket(name: string): unknown[] {
  const text = golden(`socketio/${name}.txt`);
  return JSON.parse(text.slice(text.search(/[[{]/))) as unknown[];
}
