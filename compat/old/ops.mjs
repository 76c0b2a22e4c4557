// What a test does with an SDK of 2018 to 2022. The same code runs in Node and, without its `export`, in a page:
// arguments and results are JSON.
export function makeOps({ Centrifuge, SockJS, WebSocket, binary, hooks }) {
  const clients = new Map();
  const encode = (value) => (binary ? new TextEncoder().encode(JSON.stringify(value)) : value);

  /** Bytes become the value they hold, large numbers become numbers. */
  const plain = (value) => {
    if (value instanceof Uint8Array) {
      const text = new TextDecoder().decode(value);
      return text === "" ? null : JSON.parse(text);
    }
    if (Array.isArray(value)) return value.map(plain);
    if (value === null || typeof value !== "object") return typeof value === "function" ? undefined : value;
    if (typeof value.low === "number" && typeof value.high === "number") return value.high * 2 ** 32 + (value.low >>> 0);
    return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
  };

  const get = (id) => clients.get(id) ?? (() => { throw new Error(`no client ${id}`); })();
  const sub = (id, channel) => get(id).client.getSub(channel) ?? get(id).subs.get(channel);

  const ops = {
    open(id, { url, options = {}, token, data, connect = true }) {
      const all = { minRetry: 100, maxRetry: 300, refreshInterval: 100, ...options };
      if (url.startsWith("http")) all.sockjs = SockJS;
      else if (WebSocket) all.websocket = WebSocket;
      all.onRefresh = (_, answer) => hooks.refreshToken(id).then((fresh) => answer({ status: 200, data: { token: fresh } }));
      all.onPrivateSubscribe = ({ data: asked }, answer) =>
        Promise.all(asked.channels.map(async (channel) => ({ channel, token: await hooks.privateToken(asked.client, channel) })))
          .then((channels) => answer({ status: 200, data: { channels } }));
      const client = new Centrifuge(url, all);
      const events = [];
      for (const name of ["connect", "disconnect", "message", "subscribe", "publish", "join", "leave", "unsubscribe"]) {
        client.on(name, (context) => events.push([name, plain(context)]));
      }
      if (token) client.setToken(token);
      if (data) client.setConnectData(encode(data));
      clients.set(id, { client, events, subs: new Map() });
      if (connect) client.connect();
    },
    connect: (id) => get(id).client.connect(),
    setToken: (id, token) => get(id).client.setToken(token),
    subscribe(id, channel) {
      const { client, events, subs } = get(id);
      const known = subs.get(channel);
      if (known && client.getSub(channel) === known) return known.subscribe();
      const on = {};
      for (const name of ["subscribe", "publish", "join", "leave", "unsubscribe", "error"]) {
        on[name] = (context) => events.push([`${channel} ${name}`, plain(context)]);
      }
      const made = client.subscribe(channel, on);
      subs.set(channel, made);
      // Up to 2.4 it is rejected beside the event, and nobody has it.
      made._subscriptionPromise?.catch(() => {});
    },
    unsubscribe: (id, channel) => sub(id, channel).unsubscribe(),
    publish: async (id, channel, data) => plain(await sub(id, channel).publish(encode(data))) ?? {},
    /** Publishes many without waiting, and gives the number of answers. */
    async burst(id, channel, count) {
      const { client } = get(id);
      client.startBatching();
      const all = [];
      for (let number = 0; number < count; number++) all.push(sub(id, channel).publish(encode(number)));
      client.stopBatching();
      return (await Promise.all(all)).length;
    },
    presence: async (id, channel) => plain(await sub(id, channel).presence()),
    presenceStats: async (id, channel) => plain(await sub(id, channel).presenceStats()),
    history: async (id, channel) => plain(await sub(id, channel).history()),
    rpc: async (id, data) => get(id).client.rpc(encode(data)).then(plain, (error) => ({ error: plain(error) })),
    send: async (id, data) => void (await get(id).client.send(encode(data))),
    disconnect: (id) => get(id).client.disconnect(),
    /** All that happened: pairs of a name, with the channel before it, and the context. */
    events: (id) => get(id).events,
    count: (id, name) => get(id).events.filter(([found]) => found === name).length,
    close: () => clients.forEach(({ client }) => client.disconnect()),
  };
  return ops;
}
