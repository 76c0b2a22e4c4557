/** Reads a JWT without checking its signature: the page has no key, and needs none to show what is inside. */

export interface Note {
  level: "bad" | "warn" | "good" | "info";
  text: string;
}

export interface Decoded {
  header: Record<string, unknown>;
  claims: Record<string, unknown>;
  notes: Note[];
}

export type Inspection = { kind: "empty" } | { kind: "broken"; why: string } | ({ kind: "token" } & Decoded);

export function inspect(token: string, now: number): Inspection {
  const text = token.trim();
  if (text === "") return { kind: "empty" };
  const parts = text.split(".");
  if (parts.length !== 3) {
    return { kind: "broken", why: `A JWT has three parts with dots between them; this has ${parts.length}.` };
  }
  const header = part(parts[0], "header");
  if (typeof header === "string") return { kind: "broken", why: header };
  const claims = part(parts[1], "payload");
  if (typeof claims === "string") return { kind: "broken", why: claims };
  return { kind: "token", header, claims, notes: notes(header, claims, parts[2], now) };
}

function part(encoded: string, name: string): Record<string, unknown> | string {
  if (!/^[A-Za-z0-9_-]+$/.test(encoded)) return `The ${name} is not base64url.`;
  try {
    const bytes = Uint8Array.from(atob(encoded.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (value && typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
    return `The ${name} is JSON, but not an object.`;
  } catch {
    return `The ${name} does not decode to JSON. Was the token cut or changed?`;
  }
}

const MEANING: Record<string, string> = {
  sub: "user id",
  exp: "expires",
  iat: "issued",
  nbf: "not before",
  expire_at: "connection expires",
  info: "shown to others: presence, join/leave, publications",
  b64info: "as info, base64 of any bytes",
  channels: "server-side subscriptions",
  subs: "server-side subscriptions with options",
  meta: "kept on the server",
  aud: "audience",
  iss: "issuer",
  jti: "token id",
  channel: "subscription token for this channel",
  caps: "capabilities",
};

export function claimMeaning(name: string): string {
  return MEANING[name] ?? "";
}

const TIMES = new Set(["exp", "iat", "nbf", "expire_at"]);

/** The date behind a time claim, and how far away it is. */
export function claimTime(name: string, value: unknown, now: number): string {
  if (!TIMES.has(name) || typeof value !== "number" || value > 8e12) return "";
  if (name === "expire_at" && value === 0) return "never";
  return `${new Date(value * 1000).toLocaleString()} (${distance(value - now)})`;
}

export function distance(seconds: number): string {
  if (Math.abs(seconds) < 1) return "now";
  return seconds < 0 ? `${duration(-seconds)} ago` : `in ${duration(seconds)}`;
}

/** Two units at most: "4 min 59 s". */
export function duration(seconds: number): string {
  const size = Math.max(0, Math.round(seconds));
  const pieces: [number, string][] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = pieces.findIndex(([unit]) => size >= unit);
  if (at < 0) return "0 s";
  const [unit, name] = pieces[at];
  const whole = Math.floor(size / unit);
  const next = pieces[at + 1];
  const rest = next ? Math.floor((size - whole * unit) / next[0]) : 0;
  return `${whole} ${name}${rest ? ` ${rest} ${next[1]}` : ""}`;
}

function notes(header: Record<string, unknown>, claims: Record<string, unknown>, signature: string, now: number): Note[] {
  const found: Note[] = [];
  const bad = (text: string) => found.push({ level: "bad", text });
  const warn = (text: string) => found.push({ level: "warn", text });

  const alg = header.alg;
  if (typeof alg !== "string") bad("The header names no algorithm (alg).");
  else if (alg.toLowerCase() === "none") bad("alg is none: unsigned tokens are refused.");
  else if (!/^((HS|RS|ES)(256|384|512)|EdDSA)$/.test(alg)) bad(`The server does not accept the algorithm ${alg}.`);
  if (signature === "") bad("The signature is missing.");

  if ("sub" in claims && typeof claims.sub !== "string") bad("sub must be a string: write \"42\", not 42.");
  else if (!claims.sub) warn("No user in sub: the connection is anonymous.");
  if ("channel" in claims) bad("It has a channel claim: this is a subscription token, and cannot connect.");

  const exp = claims.exp;
  if (exp === undefined) found.push({ level: "info", text: "No exp: the connection never expires." });
  else if (typeof exp !== "number") bad("exp must be a number of seconds since 1970.");
  else if (exp > 1e11) warn("exp looks like milliseconds; it must be seconds.");
  else if (exp <= now) bad(`Expired ${distance(exp - now)}: the server answers error 109.`);
  else found.push({ level: "good", text: `Expires ${distance(exp - now)}.` });

  if (typeof claims.nbf === "number" && claims.nbf > now) bad(`Not valid yet: nbf is ${distance(claims.nbf - now)}.`);
  if (typeof claims.b64info === "string" && !isBase64(claims.b64info)) bad("b64info is not base64.");
  return found;
}

function isBase64(text: string): boolean {
  try {
    atob(text);
    return true;
  } catch {
    return false;
  }
}
