// The official SDK in both encodings, with what each test wants to know written down.
import { Centrifuge as Json } from "centrifuge";
import { Centrifuge as Protobuf } from "centrifuge/build/protobuf";
import { WebSocket } from "ws";
import { unique, until } from "./server.mjs";

export const encodings = { json: Json, protobuf: Protobuf };

/** In the JSON encoding payloads are values, in Protobuf they are bytes. */
export const pack = (encoding, value) => (encoding === "json" ? value : new TextEncoder().encode(JSON.stringify(value)));
export const unpack = (value) => (value instanceof Uint8Array ? JSON.parse(new TextDecoder().decode(value)) : value);

/** A client that records its events as [name, context]. Options are those of the SDK. */
export function makeClient(encoding, url, options = {}) {
  const client = new encodings[encoding](url, { websocket: WebSocket, minReconnectDelay: 50, maxReconnectDelay: 200, ...options });
  client.events = record(client, ["connecting", "connected", "disconnected", "error", "subscribed", "unsubscribed", "publication", "join", "leave"]);
  return client;
}

export async function connected(encoding, url, options) {
  const client = makeClient(encoding, url, options);
  client.connect();
  await until(() => client.state === "connected" || client.state === "disconnected", "a connection");
  if (client.state !== "connected") throw new Error(`refused: ${JSON.stringify(client.events)}`);
  return client;
}

/** Connects where a refusal is expected, and gives the context of `disconnected`. */
export async function refused(encoding, url, options) {
  const client = makeClient(encoding, url, options);
  client.connect();
  return await until(() => client.events.find(([name]) => name === "disconnected"), "a refusal").then(([, context]) => context);
}

export async function subscribed(client, channel, options) {
  const sub = client.newSubscription(channel, options);
  sub.events = record(sub, ["subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error"]);
  sub.seen = (name) => sub.events.filter(([found]) => found === name).map(([, context]) => context);
  sub.payloads = () => sub.seen("publication").map(({ data }) => unpack(data));
  sub.subscribe();
  await until(() => sub.state === "subscribed", `a subscription to ${channel}: ${JSON.stringify(sub.events)}`);
  return sub;
}

function record(emitter, names) {
  const events = [];
  for (const name of names) emitter.on(name, (context) => events.push([name, context]));
  return events;
}

/** A WebSocket class that counts the bytes which arrive, and keeps the frames: texts as they are, the others as bytes. */
export function countingSocket() {
  const tally = { bytes: 0, frames: [] };
  class Counting extends WebSocket {
    constructor(...rest) {
      super(...rest);
      this.on("message", (data, binary) => {
        tally.bytes += data.byteLength ?? data.length;
        tally.frames.push(binary ? new Uint8Array(data) : data.toString());
      });
    }
  }
  return { Counting, tally };
}

/** Whether each publication in these frames came as a delta, read from the bytes and not by the SDK. */
export function deltas(frames) {
  return frames.flatMap((frame) => {
    if (typeof frame === "string") {
      const pushes = frame.trim().split("\n").map((line) => JSON.parse(line).push);
      return pushes.filter((push) => push?.pub).map((push) => push.pub.delta === true);
    }
    // Replies, each with its length before it. Reply: push is 4; Push: pub is 4; Publication: delta is 8.
    const found = [];
    for (let at = 0; at < frame.length; ) {
      const [length, start] = varint(frame, at);
      at = start + length;
      for (const push of fields(frame.subarray(start, at), 4)) {
        for (const pub of fields(push, 4)) found.push(fields(pub, 8)[0] === 1);
      }
    }
    return found;
  });
}

/** The values of one field of a Protobuf message. */
function fields(bytes, wanted) {
  const found = [];
  for (let at = 0; at < bytes.length; ) {
    const [tag, start] = varint(bytes, at);
    let [value, end] = [undefined, start];
    if ((tag & 7) === 0) [value, end] = varint(bytes, start);
    else if ((tag & 7) === 1) end = start + 8;
    else if ((tag & 7) === 5) end = start + 4;
    else {
      const [length, from] = varint(bytes, start);
      [value, end] = [bytes.subarray(from, from + length), from + length];
    }
    if (tag >> 3 === wanted) found.push(value);
    at = end;
  }
  return found;
}

function varint(bytes, at) {
  let [value, scale] = [0, 1];
  for (;;) {
    const byte = bytes[at++];
    value += (byte & 127) * scale;
    if (byte < 128) return [value, at];
    scale *= 128;
  }
}

/** One frame sent and one received on a bare socket; `null` for a close, whose code and reason are given. */
export async function exchange(url, frame, protocol = []) {
  const socket = new WebSocket(url, protocol);
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const outcome = new Promise((resolve) => {
    socket.once("message", (data) => resolve({ reply: JSON.parse(data.toString()) }));
    socket.once("close", (code, reason) => resolve({ code, reason: reason.toString() }));
  });
  socket.send(frame);
  const result = await outcome;
  return { socket, ...result };
}

export const someone = () => unique("user-");
