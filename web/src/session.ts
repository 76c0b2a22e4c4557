import { Centrifuge as ProtobufCentrifuge, UnauthorizedError } from "centrifuge/build/protobuf";
import type { ClientInfo, PublicationContext, Subscription, SubscriptionOptions } from "centrifuge/build/protobuf";
import { explainConnecting, explainDisconnect, explainError, explainUnsubscribed, type Meaning } from "./codes";
import { Log } from "./log";
import { forWire, oneLine, readableDeep } from "./payload";
import { Store } from "./store";

// The SDK's Protobuf client extends its JSON client. Taking the latter from there keeps one copy of the SDK in the page.
const JsonCentrifuge = Object.getPrototypeOf(ProtobufCentrifuge) as typeof ProtobufCentrifuge;

export type Protocol = "json" | "protobuf";

export interface ConnectOptions {
  url: string;
  token: string;
  protocol: Protocol;
  /** Called when the token has expired; without it the SDK gives up, as an application without refresh would. */
  renew?: () => Promise<string | null>;
}

export interface Channel {
  name: string;
  origin: "client" | "server";
  state: "subscribed" | "subscribing" | "unsubscribed";
  /** What the server granted: recoverable, positioned, recovered… */
  granted: string[];
  received: number;
  offset?: number;
  note?: string;
  result?: { title: string; value: unknown };
  sub?: Subscription;
}

export interface Ending extends Meaning {
  code: number;
  reason: string;
  at: number;
  /** Whether the SDK is trying again by itself. */
  trying: boolean;
}

interface Failure {
  code: number;
  message: string;
}

/** One connection made with the official SDK, with everything that happened to it. */
export class Session extends Store {
  readonly log = new Log();
  state: "disconnected" | "connecting" | "connected" = "disconnected";
  clientId = "";
  protocol: Protocol = "json";
  connectedAt = 0;
  ending: Ending | null = null;
  channels = new Map<string, Channel>();
  #client: ProtobufCentrifuge | null = null;

  connect(options: ConnectOptions): void {
    this.close();
    this.ending = null;
    this.protocol = options.protocol;
    const renew = options.renew;
    const config = {
      token: options.token.trim(),
      name: "console",
      getToken: renew
        ? async () => {
            const token = await renew();
            if (!token) throw new UnauthorizedError("no new token");
            this.log.add("conn", "", "The SDK asked for a new token and got one");
            return token;
          }
        : null,
    };
    try {
      const Client = options.protocol === "protobuf" ? ProtobufCentrifuge : JsonCentrifuge;
      this.#client = new Client(options.url.trim(), config);
    } catch (error) {
      this.#ended(2, String(error instanceof Error ? error.message : error), false);
      return;
    }
    this.#listen(this.#client);
    for (const name of [...this.channels.keys()]) this.channels.delete(name);
    this.#client.connect();
    this.changed();
  }

  disconnect(): void {
    this.#client?.disconnect();
  }

  /** Drops the present client for a new one; its late events no longer concern us. */
  close(): void {
    const old = this.#client;
    this.#client = null;
    old?.removeAllListeners();
    for (const channel of this.channels.values()) channel.sub?.removeAllListeners();
    old?.disconnect();
    this.channels.clear();
    this.state = "disconnected";
    this.changed();
  }

  #listen(client: ProtobufCentrifuge): void {
    client.on("state", ({ newState }) => {
      this.state = newState;
      this.changed();
    });
    client.on("connecting", ({ code, reason }) => {
      if (code === 0) {
        this.log.add("conn", "", "Connecting");
        return;
      }
      this.#ended(code, reason, true);
    });
    client.on("connected", (context) => {
      this.clientId = context.client;
      this.connectedAt = Date.now();
      this.ending = null;
      this.log.add("conn", "", `Connected as ${context.client}`, { detail: readableDeep(context) });
      this.changed();
    });
    client.on("disconnected", ({ code, reason }) => {
      this.clientId = "";
      for (const channel of this.channels.values()) {
        if (channel.origin === "server") channel.state = "unsubscribed";
      }
      this.#ended(code, reason, false);
    });
    client.on("error", ({ type, error }) => this.#failed("", `${type}`, error));
    client.on("message", ({ data }) => this.log.add("pub", "", oneLine(data), { detail: readableDeep(data) }));

    // Server-side subscriptions speak through the client itself.
    client.on("subscribing", ({ channel }) => this.#serverChannel(channel).state = "subscribing");
    client.on("subscribed", (context) => this.#subscribed(this.#serverChannel(context.channel), context));
    client.on("unsubscribed", ({ channel }) => {
      this.#serverChannel(channel).state = "unsubscribed";
      this.log.add("sub", channel, "Unsubscribed by the server");
      this.changed();
    });
    client.on("publication", (context) => this.#publication(this.#serverChannel(context.channel), context));
    client.on("join", ({ channel, info }) => this.#moved("join", channel, info));
    client.on("leave", ({ channel, info }) => this.#moved("leave", channel, info));
  }

  subscribe(name: string, options: SubscriptionOptions): void {
    const client = this.#client;
    if (!client) return;
    this.remove(name);
    const sub = client.newSubscription(name, options);
    const channel: Channel = { name, origin: "client", state: "unsubscribed", granted: [], received: 0, sub };
    this.channels.set(name, channel);
    sub.on("state", ({ newState }) => {
      channel.state = newState;
      this.changed();
    });
    sub.on("subscribing", ({ code, reason }) => {
      if (code < 100) return;
      const meaning = explainUnsubscribed(code, reason);
      channel.note = `${code} ${reason}. ${meaning.advice}`;
      this.log.add("sub", name, `Subscribing again: ${code} ${reason}`, { detail: meaning.advice });
    });
    sub.on("subscribed", (context) => this.#subscribed(channel, context));
    sub.on("unsubscribed", ({ code, reason }) => {
      const meaning = explainUnsubscribed(code, reason);
      channel.note = code === 0 ? undefined : `${code} ${reason}. ${meaning.advice}`;
      this.log.add(code === 0 ? "sub" : "error", name, `Unsubscribed: ${code} ${reason}`, { detail: meaning.advice });
      this.changed();
    });
    sub.on("publication", (context) => this.#publication(channel, context));
    sub.on("join", ({ info }) => this.#moved("join", name, info));
    sub.on("leave", ({ info }) => this.#moved("leave", name, info));
    sub.on("error", ({ type, error }) => this.#failed(name, type, error));
    sub.subscribe();
    this.changed();
  }

  unsubscribe(name: string): void {
    this.channels.get(name)?.sub?.unsubscribe();
  }

  resubscribe(name: string): void {
    this.channels.get(name)?.sub?.subscribe();
  }

  remove(name: string): void {
    const channel = this.channels.get(name);
    if (channel?.sub && this.#client) this.#client.removeSubscription(channel.sub);
    this.channels.delete(name);
    this.changed();
  }

  async publish(name: string, value: unknown): Promise<boolean> {
    return this.#call(name, "publish", async (client) => {
      await client.publish(name, forWire(value, this.protocol === "protobuf"));
      return { title: "Published", detail: value };
    });
  }

  presence(name: string): Promise<boolean> {
    return this.#call(name, "presence", async (client) => {
      const { clients } = await client.presence(name);
      // The JSON client also leaves the names of the wire on these objects.
      const people = Object.values(clients).map(({ user, client: id, connInfo, chanInfo }) => ({ user, client: id, connInfo, chanInfo }));
      return { title: `Presence: ${people.length} online`, detail: readableDeep(people), keep: true };
    });
  }

  presenceStats(name: string): Promise<boolean> {
    return this.#call(name, "presence_stats", async (client) => {
      const stats = await client.presenceStats(name);
      return { title: `Presence: ${stats.numClients} connections, ${stats.numUsers} users`, detail: stats, keep: true };
    });
  }

  history(name: string, limit: number): Promise<boolean> {
    return this.#call(name, "history", async (client) => {
      const page = await client.history(name, { limit, reverse: true });
      const publications = page.publications.map(({ offset, data, tags, info }) => ({ offset, data, tags: filled(tags), info }));
      const title = `History: newest ${publications.length}, up to offset ${page.offset}`;
      return { title, detail: readableDeep({ epoch: page.epoch, offset: page.offset, publications }), keep: true };
    });
  }

  async #call(
    name: string,
    method: string,
    run: (client: ProtobufCentrifuge) => Promise<{ title: string; detail: unknown; keep?: boolean }>,
  ): Promise<boolean> {
    if (!this.#client) return false;
    const began = performance.now();
    try {
      const { title, detail, keep } = await run(this.#client);
      const took = (performance.now() - began).toFixed(1);
      this.log.add("call", name, `${title} (${took} ms)`, { detail });
      const channel = this.channels.get(name);
      if (channel && keep) channel.result = { title, value: detail };
      this.changed();
      return true;
    } catch (error) {
      this.#failed(name, method, error as Failure);
      return false;
    }
  }

  /** For calls made outside the SDK, which belong into the same log. */
  report(name: string, title: string, detail: unknown, failure?: Failure): void {
    if (failure) this.#failed(name, title, failure);
    else this.log.add("call", name, title, { detail });
  }

  #serverChannel(name: string): Channel {
    let channel = this.channels.get(name);
    if (!channel) {
      channel = { name, origin: "server", state: "subscribing", granted: [], received: 0 };
      this.channels.set(name, channel);
    }
    return channel;
  }

  #subscribed(
    channel: Channel,
    context: { recoverable: boolean; positioned: boolean; wasRecovering: boolean; recovered: boolean; data?: unknown;
      streamPosition?: { offset: number; epoch: string } },
  ): void {
    channel.state = "subscribed";
    channel.note = undefined;
    channel.granted = [];
    if (context.recoverable) channel.granted.push("recoverable");
    if (context.positioned) channel.granted.push("positioned");
    if (context.wasRecovering) channel.granted.push(context.recovered ? "recovered" : "not recovered");
    channel.offset = context.streamPosition?.offset ?? channel.offset;
    const who = channel.origin === "server" ? "Subscribed by the server" : "Subscribed";
    const granted = channel.granted.length ? `: ${channel.granted.join(", ")}` : "";
    this.log.add("sub", channel.name, who + granted, { detail: readableDeep(context) });
    this.changed();
  }

  #publication(channel: Channel, context: PublicationContext): void {
    channel.received += 1;
    if (context.offset !== undefined) channel.offset = context.offset;
    const { data, info, offset } = context;
    const tags = filled(context.tags);
    const detail = info || tags ? readableDeep({ data, info, tags }) : readableDeep(data);
    this.log.add("pub", context.channel, oneLine(data), { detail, offset });
    this.changed();
  }

  #moved(kind: "join" | "leave", channel: string, info: ClientInfo): void {
    const user = info.user === "" ? "an anonymous user" : `user ${info.user}`;
    this.log.add(kind, channel, `${user} ${kind === "join" ? "joined" : "left"}`, { detail: readableDeep(info) });
  }

  #failed(channel: string, what: string, error: Failure): void {
    const code = error?.code ?? 0;
    const message = error?.message ?? String(error);
    const { advice } = explainError(code, message);
    this.log.add("error", channel, `${what}: ${code} ${message}`, { detail: advice || undefined });
    this.changed();
  }

  #ended(code: number, reason: string, trying: boolean): void {
    const meaning = trying ? explainConnecting(code, reason) : explainDisconnect(code, reason);
    this.ending = { code, reason, at: Date.now(), trying, ...meaning };
    const text = `${trying ? "Connection lost" : "Disconnected"}: ${code} ${reason}`;
    this.log.add(code === 0 ? "conn" : "error", "", text, { detail: meaning.advice });
    this.changed();
  }
}

/** The Protobuf client gives an empty map where there are no tags. */
function filled(tags?: Record<string, string>): Record<string, string> | undefined {
  return tags && Object.keys(tags).length > 0 ? tags : undefined;
}
