// npm centrifuge for matrix.mjs, and the combinations of transport, encoding and place that it has.
import { createRequire } from "node:module";
import path from "node:path";
import { EventSource } from "eventsource";
import { makeClient } from "./client.mjs";
import { bidirectional, everything } from "./transports.mjs";

const dist = path.join(path.dirname(createRequire(import.meta.url).resolve("centrifuge")), "../dist");
const bundles = { json: "centrifuge.js", protobuf: "centrifuge.protobuf.js" };

export const sdk = {
  make: (encoding, endpoints, options) =>
    makeClient(encoding, endpoints, { eventsource: EventSource, fetch, readableStream: ReadableStream, ...options }),
  scripts: (encoding) => [path.join(dist, bundles[encoding])],
};

/** What `suite` of matrix.mjs is given for each, with the place where it runs. */
export function combinations(scheme) {
  const possible = Object.entries(bidirectional).filter(([, { encrypted }]) => !encrypted || scheme === "https");
  return possible.flatMap(([transport, { encodings, places, endpoint, encrypted }]) =>
    encodings.flatMap((encoding) => places.map((place) => ({
      title: `${transport}, ${encoding}, ${place}`,
      transport,
      encoding,
      place,
      scheme,
      endpoints: (arena) => [{ transport, endpoint: endpoint(arena) }],
      // No end of a connection tells of a cut there: pings have to.
      settings: encrypted ? () => everything({ ping_interval: "2s", pong_timeout: "1900ms" }) : undefined,
    }))));
}
