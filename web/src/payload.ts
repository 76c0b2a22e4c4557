/** Payloads are JSON values with the JSON protocol, and bytes with Protobuf. Both are shown the same way. */

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Bytes become the JSON value or the text they hold; what is neither stays bytes. */
export function readable(value: unknown): unknown {
  if (!(value instanceof Uint8Array)) return value;
  if (value.length === 0) return undefined;
  let text: string;
  try {
    text = utf8.decode(value);
  } catch {
    return value;
  }
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** As `readable`, but through objects and lists, so that a whole reply can be shown. */
export function readableDeep(value: unknown): unknown {
  const plain = readable(value);
  if (plain instanceof Uint8Array) return `bytes: ${hex(plain)}`;
  if (Array.isArray(plain)) return plain.map(readableDeep);
  if (plain && typeof plain === "object") {
    return Object.fromEntries(Object.entries(plain).map(([key, inner]) => [key, readableDeep(inner)]));
  }
  return plain;
}

export function hex(bytes: Uint8Array): string {
  const shown = Array.from(bytes.subarray(0, 512), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  return bytes.length > 512 ? `${shown} … (${bytes.length} bytes)` : shown;
}

export function oneLine(value: unknown): string {
  const plain = readableDeep(value);
  if (plain === undefined) return "";
  const text = typeof plain === "string" ? plain : JSON.stringify(plain);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

export function pretty(value: unknown): string {
  const plain = readableDeep(value);
  if (plain === undefined) return "(empty)";
  return typeof plain === "string" ? plain : JSON.stringify(plain, null, 2);
}

/** What a person typed: JSON if it parses, else the text itself as a JSON string. */
export function typed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The form in which the SDK wants a payload for the given protocol. */
export function forWire(value: unknown, protobuf: boolean): unknown {
  return protobuf ? new TextEncoder().encode(JSON.stringify(value)) : value;
}
