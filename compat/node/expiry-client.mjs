// A client of the official SDK whose tokens end after five seconds, and what it does about it, counted on the wire.
// As a program (node expiry-client.mjs URL CHANNEL) it prints the counts as a line of JSON ten times a second.
import { fileURLToPath } from "node:url";
import { Centrifuge } from "centrifuge";
import { WebSocket } from "ws";
import { inSeconds, jwt } from "./server.mjs";

const KINDS = ["connect", "refresh", "subscribe", "sub_refresh"];

/** Connects and subscribes to `channel`. `connectionToken` and `subscriptionToken` replace the backend. */
export function follow(url, channel, { user = "42", connectionToken, subscriptionToken, ...options } = {}) {
  const zero = () => Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  const tally = {
    /** Commands sent, and those of them that were answered with 109. */
    sent: zero(), refused: zero(),
    /** Other errors in replies, and codes of closes by the server. */
    errors: [], closes: [],
    /** How often the SDK asked the backend for tokens. */
    tokens: 0, subTokens: 0,
    connected: 0, subscribed: 0, unrecovered: 0, numbers: [],
    state: "", subState: "",
  };

  class Counting extends WebSocket {
    kinds = new Map();
    constructor(...rest) {
      super(...rest);
      this.on("close", (code) => code >= 3000 && tally.closes.push(code));
      this.on("message", (data) => {
        for (const { id, error } of lines(data)) {
          const kind = this.kinds.get(id);
          if (!kind || !error) continue;
          if (error.code === 109) tally.refused[kind]++;
          else tally.errors.push([kind, error.code]);
        }
      });
    }
    send(data, ...rest) {
      for (const command of lines(data)) {
        const kind = KINDS.find((name) => name in command);
        if (!kind) continue;
        tally.sent[kind]++;
        this.kinds.set(command.id, kind);
      }
      super.send(data, ...rest);
    }
  }

  const client = new Centrifuge(url, {
    websocket: Counting, minReconnectDelay: 100, maxReconnectDelay: 500, ...options,
    getToken: async () => (tally.tokens++, (connectionToken ?? (() => jwt({ sub: user, exp: inSeconds(5) })))()),
  });
  const sub = client.newSubscription(channel, {
    minResubscribeDelay: 100, maxResubscribeDelay: 500, ...options,
    getToken: async () => (tally.subTokens++, (subscriptionToken ?? (() => jwt({ sub: user, channel, exp: inSeconds(5) })))()),
  });
  client.on("connected", () => tally.connected++).on("error", () => {});
  sub.on("subscribed", ({ wasRecovering, recovered }) => {
    tally.subscribed++;
    if (wasRecovering && !recovered) tally.unrecovered++;
  });
  sub.on("publication", ({ data }) => tally.numbers.push(data.n)).on("error", () => {});
  sub.subscribe();
  client.connect();
  return { client, sub, tally: () => Object.assign(tally, { state: client.state, subState: sub.state }) };
}

const lines = (data) => data.toString().split("\n").filter(Boolean).map((line) => JSON.parse(line));

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { tally } = follow(process.argv[2], process.argv[3]);
  setInterval(() => process.stdout.write(`${JSON.stringify(tally())}\n`), 100);
}
