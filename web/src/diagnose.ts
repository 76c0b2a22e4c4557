/** Why connecting failed. A browser tells pages nothing about it, so the server of this page asks in its place. */

import type { Meaning } from "./codes";
import { httpUrl, probe } from "./dev";

export interface Diagnosis extends Meaning {
  kind: "dead" | "path" | "origin" | "busy" | "other";
  /** A line of a configuration that would change it. */
  line?: string;
}

export async function diagnose(socket: string): Promise<Diagnosis> {
  const url = httpUrl(socket);
  const told = await probe(socket.trim());
  if (told?.failure !== undefined) return dead(url, told.failure);
  if (told?.status !== undefined) return of(told.status, url);
  // Another machine, or a page without a server of its own.
  const own = url.origin === location.origin;
  try {
    const answer = await fetch(url, { mode: own ? "same-origin" : "no-cors", redirect: "manual", cache: "no-store" });
    if (!own) return either(url);
    return answer.status === 404 ? of(404, url) : of(403, url);
  } catch {
    return dead(url, "no answer");
  }
}

function of(status: number, url: URL): Diagnosis {
  const at = `${url.host}${url.pathname}`;
  switch (status) {
    case 403:
      return {
        kind: "origin",
        title: "Refused: origin not allowed",
        advice: `client.allowed_origins of the server at ${url.host} does not name this page's origin, ${location.origin}. Add it there.`,
        line: `"allowed_origins": [${JSON.stringify(location.origin)}]`,
      };
    case 101:
      return { kind: "other", title: "Connection interrupted", advice: `The server at ${at} takes connections now. Trying again.` };
    case 429:
    case 503:
      return { kind: "busy", title: "Server takes no new clients", advice: `It answers ${status}: a limit of connections, or a shutdown. Trying again.` };
    case 404:
      return { kind: "path", title: "Wrong path", advice: `A server answers at ${url.host}, and has nothing at ${url.pathname} (404). The usual path is /connection/websocket.` };
    default:
      return { kind: "path", title: "No WebSocket there", advice: `${at} answers with HTTP ${status}, not with a WebSocket. Check the path: the usual one is /connection/websocket.` };
  }
}

function dead(url: URL, failure: string): Diagnosis {
  return { kind: "dead", title: "No server", advice: `${url.host}: ${failure}. Start the server, or check host and port. Trying again.` };
}

function either(url: URL): Diagnosis {
  return {
    kind: "other",
    title: "Refused",
    advice: `A server answers at ${url.host}. Either it has no WebSocket at ${url.pathname}, or its client.allowed_origins does not name ${location.origin}: its log says which.`,
    line: `"allowed_origins": [${JSON.stringify(location.origin)}]`,
  };
}
