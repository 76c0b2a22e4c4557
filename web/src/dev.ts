/** What the server says about itself in development. Every field may be missing: the page works without. */
export interface DevInfo {
  token?: string;
  api_key?: string;
  /** Key of the requests that this page alone makes. */
  console_key?: string;
  /** Paths of endpoints. */
  websocket?: string;
  api?: string;
  swagger?: string;
  version?: string;
  user?: string;
  channel?: string;
  curl?: string;
  snippet?: string;
}

let known: DevInfo | null = null;

export async function devInfo(): Promise<DevInfo | null> {
  try {
    const answer = await fetch("dev/info", { cache: "no-store" });
    if (!answer.ok) return null;
    const body: unknown = await answer.json();
    if (!body || typeof body !== "object") return null;
    known = Object.fromEntries(Object.entries(body).filter(([, value]) => typeof value === "string"));
    return known;
  } catch {
    return null;
  }
}

/** A request that the server answers for its own console alone. A server with a new key is asked for it once. */
async function ask(path: string, body: string): Promise<unknown> {
  const send = () => fetch(path, { method: "POST", headers: { "x-console-key": known?.console_key ?? "" }, body, cache: "no-store" });
  try {
    if (!known) return null;
    let answer = await send();
    if (answer.status === 401 && (await devInfo())) answer = await send();
    const type = answer.headers.get("content-type") ?? "";
    return answer.ok && type.includes("json") ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** What the server is asked about a token: by itself, or for something in a channel. */
export interface Question {
  token: string;
  action?: string;
  channel?: string;
  subscription_token?: string;
  subscribed?: boolean;
}

/** The server's own account, or null where it gives none. */
export function explainToken(question: Question): Promise<unknown> {
  return ask("dev/explain", JSON.stringify(question));
}

/** What a WebSocket endpoint answers: a status, or why there is none. Null where the server does not ask. */
export async function probe(url: string): Promise<{ status?: number; failure?: string } | null> {
  const told = await ask("dev/probe", url);
  return told && typeof told === "object" ? told : null;
}

/** `/connection/websocket` as a full ws:// or wss:// address at this page's host. */
export function socketUrl(path = "/connection/websocket"): string {
  const url = new URL(path, location.protocol.startsWith("http") ? location.href : "http://localhost:8000/");
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  return url.href;
}

/** The address of a socket with the scheme of HTTP. */
export function httpUrl(socket: string): URL {
  return new URL(socket.trim().replace(/^ws/, "http"));
}

/** The HTTP API of the server whose socket is at `socket`. */
export function apiUrl(socket: string, method: string, path = "/api"): string {
  return `${httpUrl(socket).origin}${path}/${method}`;
}

/** The result, and the milliseconds between request and answer. */
export async function apiPublish(url: string, key: string, body: object): Promise<{ result: unknown; took?: number }> {
  performance.clearResourceTimings();
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": key },
    body: JSON.stringify(body),
  });
  if (answer.status === 401) throw { code: 401, message: "the API key is wrong" };
  if (!answer.ok) throw { code: answer.status, message: `HTTP ${answer.status}` };
  const reply = await answer.json();
  if (reply.error) throw reply.error;
  return { result: reply.result, took: networkTime(url) };
}

/** The time on the network alone. Browsers keep that of other origins to themselves. */
function networkTime(url: string): number | undefined {
  const timing = performance.getEntriesByName(url, "resource").at(-1) as PerformanceResourceTiming | undefined;
  return timing && timing.requestStart > 0 ? timing.responseEnd - timing.requestStart : undefined;
}

export function curlLine(url: string, key: string, channel: string): string {
  const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  return `curl -X POST ${url} -H ${quote(`X-API-Key: ${key}`)} -d ${quote(JSON.stringify({ channel, data: { text: "hello" } }))}`;
}

export function htmlSnippet(socket: string, token: string, channel: string): string {
  // "</" inside a script would end it.
  const quote = (text: string) => JSON.stringify(text).replaceAll("<", "\\u003c");
  return `<!doctype html>
<meta charset="utf-8">
<pre id="log"></pre>
<script src="centrifuge.js"></script><!-- dist/centrifuge.js of the npm package "centrifuge" -->
<script>
  const say = (text) => document.getElementById("log").append(text + "\\n");
  const centrifuge = new Centrifuge(${quote(socket)}, { token: ${quote(token)} });
  centrifuge.on("error", ({ error }) => say("error " + error.code + ": " + error.message));
  const sub = centrifuge.newSubscription(${quote(channel)});
  sub.on("subscribed", () => say("listening to " + sub.channel));
  sub.on("publication", ({ data }) => say(JSON.stringify(data)));
  sub.subscribe();
  centrifuge.connect();
</script>
`;
}
