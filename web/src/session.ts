import { Centrifuge as ProtobufCentrifuge, UnauthorizedError } from "centrifuge/build/protobuf";
import type { ClientInfo, PublicationContext, Subscription, SubscriptionOptions } from "centrifuge/build/protobuf";
import { explainConnecting, explainDisconnect, explainError, explainUnsubscribed, type Meaning } from "./codes";
import { diagnose } from "./diagnose";
import { Log } from "./log";
import { forWire, oneLine, readableDeep } from "./payload";
import { changesFor, explained, type Refusal } from "./refusal";
import { Store } from "./store";

// The SDK's Protobuf client extends its JSON client. Taking the latter from there keeps one copy of the SDK in the page.
const JsonCentrifuge = Object.getPrototypeOf(ProtobufCentrifuge) as typeof ProtobufCentrifuge;

const INVALID_TOKEN = 3500;

export type Protocol = "json" | "protobuf";

export interface ConnectOptions {
  url: string;
  token: string;
  protocol: Protocol;
  /** Called when the token has expired; without it the SDK gives up, as an application without refresh would. */
  renew?: () => Promise<string | null>;
  /** Gives another token once the server has refused this one: that of a server with new keys. */
  replace?: () => Promise<string | null>;
}

/** What a subscription is made with, each time there is a new connection. */
export interface Wish {
  options: SubscriptionOptions;
  /** Sent along, as it was typed. */
  data?: unknown;
}

export interface Channel {
  name: string;
  origin: "client" | "server";
  state: "subscribed" | "subscribing" | "unsubscribed";
  /** What the server granted: recoverable, positioned, recovered… */
  granted: string[];
  received: number;
  offset?: number;
  epoch?: string;
  note?: string;
  refusal?: Refusal;
  result?: { title: string; value: unknown };
  wish: Wish;
  /** False once the visitor has unsubscribed: a new connection then leaves it so. */
  wanted: boolean;
  sub?: Subscription;
}

export interface Ending extends Meaning {
  code: number;
  reason: string;
  at: number;
  /** The SDK is trying again by itself. */
  trying: boolean;
  /** What to change, where that is known. */
  changes: string[];
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
  /** Calls that wait for an answer, by channel and method. */
  readonly pending = new Set<string>();
  /** What has been done on this page so far. */
  readonly done = { connected: false, subscribed: false, received: false };
  #client: ProtobufCentrifuge | null = null;
  #token = "";
  #diagnosing = false;

  connect(options: ConnectOptions): void {
    this.close();
    this.ending = null;
    this.protocol = options.protocol;
    this.#token = options.token.trim();
    const renew = options.renew;
    const config = {
      token: this.#token,
      name: "console",
      getToken: renew
        ? async () => {
            const token = await renew();
            if (!token) throw new UnauthorizedError("no new token");
            this.#token = token;
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
    this.#listen(this.#client, options);
    for (const channel of this.channels.values()) this.#enter(this.#client, channel);
    this.#client.connect();
    this.changed();
  }

  disconnect(): void {
    this.#client?.disconnect();
  }

  /** Drops the present client for a new one; its late events no longer concern us. Channels of the visitor are kept. */
  close(): void {
    const old = this.#client;
    this.#client = null;
    old?.removeAllListeners();
    for (const channel of [...this.channels.values()]) {
      channel.sub?.removeAllListeners();
      channel.sub = undefined;
      if (channel.origin === "server") this.channels.delete(channel.name);
    }
    old?.disconnect();
    this.state = "disconnected";
    this.changed();
  }

  #listen(client: ProtobufCentrifuge, options: ConnectOptions): void {
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
      this.done.connected = true;
      this.log.add("conn", "", `Connected as ${context.client}`, { detail: readableDeep(context) });
      this.changed();
    });
    client.on("disconnected", ({ code, reason }) => {
      this.clientId = "";
      for (const channel of this.channels.values()) {
        if (channel.origin === "server") channel.state = "unsubscribed";
      }
      this.#ended(code, reason, false);
      if (code !== 0) void this.#refused(client, options, code);
    });
    client.on("error", ({ type, error }) => {
      if (type === "transport") void this.#unreachable(client, options.url);
      else this.#failed("", `${type}`, error);
    });
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

  /** The server closed for good: tries the token of a server with new keys, or finds out what is wrong with this one. */
  async #refused(client: ProtobufCentrifuge, options: ConnectOptions, code: number): Promise<void> {
    const token = code === INVALID_TOKEN ? await options.replace?.() : null;
    if (this.#client !== client) return;
    if (token && token !== this.#token) {
      this.log.add("conn", "", "The server has new keys: connecting with a token of theirs");
      // Once: a token that is refused again is not replaced again.
      this.connect({ ...options, token, replace: undefined });
      return;
    }
    const ending = this.ending;
    if (!ending || ending.code === 0) return;
    const changes = await changesFor(this.#token);
    if (this.ending !== ending || changes.length === 0) return;
    this.ending = { ...ending, changes };
    this.changed();
  }

  /** Says once what keeps connections from being made, and again when that changes. */
  async #unreachable(client: ProtobufCentrifuge, url: string): Promise<void> {
    if (this.#diagnosing) return;
    this.#diagnosing = true;
    const told = await diagnose(url);
    this.#diagnosing = false;
    if (this.#client !== client || this.state !== "connecting") return;
    const { title, advice } = told;
    if (this.ending?.advice === advice) return;
    const changes = told.line ? [told.line] : [];
    this.ending = { code: 1, reason: "", at: Date.now(), trying: true, title, advice, changes };
    this.log.add("error", "", `Cannot connect: ${title}`, { detail: advice });
    this.changed();
  }

  subscribe(name: string, wish: Wish): void {
    const client = this.#client;
    const old = this.channels.get(name);
    // The answer to the first click is still on its way.
    if (!client || (old?.state === "subscribing" && this.state === "connected")) return;
    this.remove(name);
    const channel: Channel = { name, origin: "client", state: "unsubscribed", granted: [], received: 0, wish, wanted: true };
    this.channels.set(name, channel);
    try {
      this.#enter(client, channel);
    } catch (error) {
      this.channels.delete(name);
      throw error;
    }
    this.changed();
  }

  /** Makes the subscription of a channel with this client, from where an earlier one has ended. */
  #enter(client: ProtobufCentrifuge, channel: Channel): void {
    const { name, wish, offset, epoch } = channel;
    const options = { ...wish.options };
    if (wish.data !== undefined) options.data = forWire(wish.data, this.protocol === "protobuf");
    if (offset !== undefined && epoch !== undefined) options.since = { offset, epoch };
    const sub = client.newSubscription(name, options);
    channel.sub = sub;
    sub.on("state", ({ newState }) => {
      channel.state = newState;
      this.changed();
    });
    sub.on("subscribing", ({ code, reason }) => {
      channel.refusal = undefined;
      if (code < 100) return;
      const meaning = explainUnsubscribed(code, reason);
      channel.note = `${code} ${reason}. ${meaning.advice}`;
      this.log.add("sub", name, `Subscribing again: ${code} ${reason}`, { detail: meaning.advice });
    });
    sub.on("subscribed", (context) => this.#subscribed(channel, context));
    sub.on("unsubscribed", ({ code, reason }) => {
      const { advice } = explainUnsubscribed(code, reason);
      const refused = code >= 100 && code < 2000;
      channel.note = code === 0 || refused ? undefined : `${code} ${reason}. ${advice}`;
      if (refused) void this.#explain(channel, "subscribe", { code, message: reason });
      else this.log.add(code === 0 ? "sub" : "error", name, `Unsubscribed: ${code} ${reason}`, { detail: advice });
      this.changed();
    });
    sub.on("publication", (context) => this.#publication(channel, context));
    sub.on("join", ({ info }) => this.#moved("join", name, info));
    sub.on("leave", ({ info }) => this.#moved("leave", name, info));
    sub.on("error", ({ type, error }) => this.#failed(name, type, error));
    if (channel.wanted) sub.subscribe();
  }

  unsubscribe(name: string): void {
    const channel = this.channels.get(name);
    if (!channel) return;
    channel.wanted = false;
    channel.sub?.unsubscribe();
    this.changed();
  }

  resubscribe(name: string): void {
    const channel = this.channels.get(name);
    if (!channel) return;
    channel.wanted = true;
    channel.sub?.subscribe();
    this.changed();
  }

  remove(name: string): void {
    const channel = this.channels.get(name);
    if (channel?.sub && this.#client) this.#client.removeSubscription(channel.sub);
    this.channels.delete(name);
    this.changed();
  }

  /** Null once it is published. */
  publish(name: string, value: unknown): Promise<Refusal | null> {
    return this.#call(name, "publish", async (client) => {
      await client.publish(name, forWire(value, this.protocol === "protobuf"));
      return { title: "Published", detail: value };
    });
  }

  presence(name: string): Promise<Refusal | null> {
    return this.#call(name, "presence", async (client) => {
      const { clients } = await client.presence(name);
      // The JSON client also leaves the names of the wire on these objects.
      const people = Object.values(clients).map(({ user, client: id, connInfo, chanInfo }) => ({ user, client: id, connInfo, chanInfo }));
      return { title: `Presence: ${people.length} online`, detail: readableDeep(people), keep: true };
    });
  }

  presenceStats(name: string): Promise<Refusal | null> {
    return this.#call(name, "presence_stats", async (client) => {
      const stats = await client.presenceStats(name);
      return { title: `Presence: ${stats.numClients} connections, ${stats.numUsers} users`, detail: stats, keep: true };
    });
  }

  history(name: string, limit: number): Promise<Refusal | null> {
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
  ): Promise<Refusal | null> {
    const waits = `${name}/${method}`;
    if (!this.#client || this.pending.has(waits)) return null;
    this.pending.add(waits);
    this.changed();
    // What the page draws for the click would be in the time of the call.
    await drawn();
    const channel = this.channels.get(name);
    const began = performance.now();
    try {
      const { title, detail, keep } = await run(this.#client);
      const took = performance.now() - began;
      this.log.add("call", name, `${title} (${took.toFixed(1)} ms)`, { detail });
      if (channel) channel.refusal = undefined;
      if (channel && keep) channel.result = { title, value: detail };
      return null;
    } catch (error) {
      const failure = error as Failure;
      return this.#explain(channel ?? name, method, { code: failure?.code ?? 0, message: failure?.message ?? String(error) });
    } finally {
      this.pending.delete(waits);
      this.changed();
    }
  }

  /** Finds the reason of a refusal, for the row of its channel and for the log. */
  async #explain(at: Channel | string, action: string, failure: Failure): Promise<Refusal> {
    const channel = typeof at === "string" ? undefined : at;
    const name = typeof at === "string" ? at : at.name;
    const general: Refusal = { ...failure, reason: explainError(failure.code, failure.message).advice, changes: [] };
    // Codes below 100 are the SDK's own.
    const refusal = failure.code < 100 ? general : await explained(general, {
      token: this.#token,
      action,
      channel: name,
      subscription_token: channel?.wish.options.token ?? undefined,
      subscribed: channel?.state === "subscribed",
    });
    // A publish has a place of its own for its answer.
    if (channel && action !== "publish") channel.refusal = refusal;
    const detail = [refusal.reason, ...refusal.changes.map((change) => `To allow it: ${change}.`)].join("\n");
    this.log.add("error", name, `${action}: ${failure.code} ${failure.message}`, { detail: detail || undefined });
    this.changed();
    return refusal;
  }

  /** For calls made outside the SDK, which belong into the same log. */
  report(name: string, title: string, detail: unknown, failure?: Failure): void {
    if (failure) this.#failed(name, title, failure);
    else this.log.add("call", name, title, { detail });
  }

  #serverChannel(name: string): Channel {
    let channel = this.channels.get(name);
    if (!channel) {
      channel = { name, origin: "server", state: "subscribing", granted: [], received: 0, wish: { options: {} }, wanted: true };
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
    channel.refusal = undefined;
    channel.granted = [];
    if (context.recoverable) channel.granted.push("recoverable");
    if (context.positioned) channel.granted.push("positioned");
    if (context.wasRecovering) channel.granted.push(context.recovered ? "recovered" : "not recovered");
    channel.offset = context.streamPosition?.offset ?? channel.offset;
    channel.epoch = context.recoverable ? context.streamPosition?.epoch : undefined;
    this.done.subscribed = true;
    const who = channel.origin === "server" ? "Subscribed by the server" : "Subscribed";
    const granted = channel.granted.length ? `: ${channel.granted.join(", ")}` : "";
    this.log.add("sub", channel.name, who + granted, { detail: readableDeep(context) });
    this.changed();
  }

  #publication(channel: Channel, context: PublicationContext): void {
    channel.received += 1;
    this.done.received = true;
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
    this.ending = { code, reason, at: Date.now(), trying, changes: [], ...meaning };
    const text = `${trying ? "Connection lost" : "Disconnected"}: ${code} ${reason}`;
    this.log.add(code === 0 ? "conn" : "error", "", text, { detail: meaning.advice });
    this.changed();
  }
}

/** The Protobuf client gives an empty map where there are no tags. */
function filled(tags?: Record<string, string>): Record<string, string> | undefined {
  return tags && Object.keys(tags).length > 0 ? tags : undefined;
}

/** Resolves once the page has drawn what has changed so far. */
export function drawn(): Promise<void> {
  return new Promise((resolve) => {
    // A hidden page draws nothing.
    if (document.hidden) setTimeout(resolve);
    else requestAnimationFrame(() => setTimeout(resolve));
  });
}
