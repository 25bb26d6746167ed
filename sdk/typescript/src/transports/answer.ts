/** Reads answers over HTTP. */

import { TransportError } from "../core/errors.js";
import { fields, parseError } from "../core/message.js";

/** What is taken where a stream is asked for: who takes nothing but a stream is not told the status of an error. */
export const STREAM_OR_ERROR = "text/event-stream, application/json";

/** Why an answer is not what was asked for: the server's word where it gave one. */
export async function refusalOf(response: Response): Promise<TransportError> {
  const body: unknown = await response.json().catch(() => undefined);
  const { code, message } = parseError(fields(body)["error"], `HTTP_${response.status}`);
  const asked = response.headers.get("Retry-After") ?? "";
  return new TransportError(code, message, /^\d+$/.test(asked) ? Number(asked) * 1_000 : 0);
}

/** What a text says as JSON; undefined when it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
