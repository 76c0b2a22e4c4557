/** What the server says about itself in development. Every field may be missing: the page works without. */
export interface DevInfo {
  token?: string;
  api_key?: string;
  websocket?: string;
  version?: string;
  user?: string;
  channel?: string;
  curl?: string;
  snippet?: string;
}

export async function devInfo(): Promise<DevInfo | null> {
  try {
    const answer = await fetch("dev/info", { cache: "no-store" });
    if (!answer.ok) return null;
    const body: unknown = await answer.json();
    if (!body || typeof body !== "object") return null;
    return Object.fromEntries(Object.entries(body).filter(([, value]) => typeof value === "string"));
  } catch {
    return null;
  }
}

let explains = true;

/** What the server is asked about a token: by itself, or for something in a channel. */
export interface Question {
  token: string;
  action?: string;
  channel?: string;
}

/** The server's own account, or null where it gives none. */
export async function explainToken(question: Question): Promise<unknown> {
  if (!explains) return null;
  try {
    const answer = await fetch("dev/explain", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(question),
      cache: "no-store",
    });
    // A server that does not know the address is not asked again.
    explains = answer.status !== 404;
    const type = answer.headers.get("content-type") ?? "";
    return answer.ok && type.includes("json") ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** `/connection/websocket` as a full ws:// or wss:// address at this page's host. */
export function socketUrl(path = "/connection/websocket"): string {
  const url = new URL(path, location.protocol.startsWith("http") ? location.href : "http://localhost:8000/");
  url.protocol = url.protocol === "https:" || url.protocol === "wss:" ? "wss:" : "ws:";
  return url.href;
}

/** The HTTP API of the server whose socket is at `socket`. */
export function apiUrl(socket: string, method: string): string {
  const url = new URL(socket);
  return `${url.protocol === "wss:" ? "https:" : "http:"}//${url.host}/api/${method}`;
}

export async function apiPublish(socket: string, key: string, body: object): Promise<unknown> {
  const answer = await fetch(apiUrl(socket, "publish"), {
    method: "POST",
    headers: { "content-type": "application/json", "x-api-key": key },
    body: JSON.stringify(body),
  });
  if (answer.status === 401) throw { code: 401, message: "the API key is wrong" };
  if (!answer.ok) throw { code: answer.status, message: `HTTP ${answer.status}` };
  const reply = await answer.json();
  if (reply.error) throw reply.error;
  return reply.result;
}

export function curlLine(socket: string, key: string, channel: string): string {
  const body = JSON.stringify({ channel, data: { text: "hello" } });
  return `curl -X POST ${apiUrl(socket, "publish")} -H 'X-API-Key: ${key}' -d '${body.replaceAll("'", "'\\''")}'`;
}

export function htmlSnippet(socket: string, token: string, channel: string): string {
  // "</" inside a script would end it.
  const quote = (text: string) => JSON.stringify(text).replaceAll("</", "<\\/");
  return `<!doctype html>
<ul id="log"></ul>
<script src="centrifuge.js"></script><!-- dist/centrifuge.js of the npm package "centrifuge" -->
<script>
  const client = new Centrifuge(${quote(socket)}, { token: ${quote(token)} });
  const sub = client.newSubscription(${quote(channel)});
  sub.on("publication", ({ data }) => log.append(Object.assign(document.createElement("li"), { textContent: JSON.stringify(data) })));
  sub.subscribe();
  client.connect();
</script>
`;
}
