import type { FilterNode, SubscriptionOptions } from "centrifuge/build/protobuf";
import { useState } from "preact/hooks";
import { forWire, pretty, typed } from "../payload";
import type { Channel, Session } from "../session";
import { useStore } from "../store";
import { Card, Check } from "../ui";

export function Channels(props: { session: Session; name: string; setName: (name: string) => void }) {
  const session = useStore(props.session);
  const [options, setOptions] = useState({ recoverable: false, positioned: false, joinLeave: false, delta: false });
  const [token, setToken] = useState("");
  const [filter, setFilter] = useState("");
  const [data, setData] = useState("");
  const [problem, setProblem] = useState("");
  const toggle = (name: keyof typeof options) => (value: boolean) => setOptions({ ...options, [name]: value });

  const submit = (event: Event) => {
    event.preventDefault();
    const name = props.name.trim();
    const chosen: SubscriptionOptions = {
      recoverable: options.recoverable,
      positioned: options.positioned,
      joinLeave: options.joinLeave,
    };
    if (options.delta) chosen.delta = "fossil";
    if (token.trim()) chosen.token = token.trim();
    if (data.trim()) chosen.data = forWire(typed(data), session.protocol === "protobuf");
    if (filter.trim()) {
      const tree = typed(filter);
      if (!tree || typeof tree !== "object") {
        setProblem('The filter is a JSON tree, for example {"key": "city", "cmp": "eq", "val": "Oslo"}.');
        return;
      }
      chosen.tagsFilter = tree as FilterNode;
    }
    try {
      session.subscribe(name, chosen);
      setProblem("");
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };

  const channels = [...session.channels.values()];
  return (
    <Card title="Channels" testid="channels" side={channels.length > 0 && <span class="count">{channels.length}</span>}>
      <form onSubmit={submit}>
        <div class="row">
          <input
            type="text"
            class="grow"
            aria-label="Channel"
            placeholder="channel, or namespace:channel"
            spellcheck={false}
            autocomplete="off"
            data-testid="channel"
            value={props.name}
            onInput={(event) => props.setName(event.currentTarget.value)}
          />
          <button
            type="submit"
            class="primary"
            data-testid="subscribe"
            disabled={session.state === "disconnected" || !props.name.trim()}
          >
            Subscribe
          </button>
        </div>
        <details class="options" data-testid="subscribe-options">
          <summary>Options</summary>
          <div class="checks">
            <Check testid="opt-recoverable" label="Recoverable" value={options.recoverable} onChange={toggle("recoverable")} />
            <Check testid="opt-positioned" label="Positioned" value={options.positioned} onChange={toggle("positioned")} />
            <Check testid="opt-join-leave" label="Join / leave" value={options.joinLeave} onChange={toggle("joinLeave")} />
            <Check testid="opt-delta" label="Delta (fossil)" value={options.delta} onChange={toggle("delta")} />
          </div>
          <label class="field">
            <span>Tags filter</span>
            <input class="mono" data-testid="opt-filter" spellcheck={false} autocomplete="off" value={filter}
              placeholder='{"key": "city", "cmp": "eq", "val": "Oslo"}'
              onInput={(event) => setFilter(event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>Subscription token</span>
            <input class="mono" data-testid="opt-token" spellcheck={false} autocomplete="off" value={token}
              placeholder="for channels that begin with $"
              onInput={(event) => setToken(event.currentTarget.value)} />
          </label>
          <label class="field">
            <span>Data</span>
            <input class="mono" data-testid="opt-data" spellcheck={false} autocomplete="off" value={data}
              placeholder="sent along with the subscribe command"
              onInput={(event) => setData(event.currentTarget.value)} />
          </label>
        </details>
        {problem && <p class="note bad" data-testid="subscribe-problem">{problem}</p>}
      </form>
      <ul class="channels">
        {channels.map((channel) => <Row key={channel.name} session={session} channel={channel} />)}
      </ul>
    </Card>
  );
}

function Row({ session, channel }: { session: Session; channel: Channel }) {
  const { name } = channel;
  const off = session.state !== "connected";
  return (
    <li data-testid="channel-row" data-channel={name} data-state={channel.state}>
      <div class="row between">
        <span class="name">
          <i class={`dot ${channel.state}`} title={channel.state} />
          <b>{name}</b>
          {channel.origin === "server" && <span class="tag">server-side</span>}
          {channel.granted.map((grant) => <span class="tag">{grant}</span>)}
        </span>
        <span class="corner">
          <span class="dim figures">
            <span data-testid="channel-received">{channel.received}</span> received
            {channel.offset !== undefined && ` · offset ${channel.offset}`}
          </span>
          {channel.origin === "client" && (
            <button type="button" class="bare" data-testid="remove" title="Remove" aria-label={`Remove ${name}`} onClick={() => session.remove(name)}>×</button>
          )}
        </span>
      </div>
      {channel.note && <p class="note bad" data-testid="channel-note">{channel.note}</p>}
      <div class="actions">
        <button type="button" class="quiet" data-testid="presence" disabled={off} onClick={() => session.presence(name)}>Presence</button>
        <button type="button" class="quiet" data-testid="stats" disabled={off} onClick={() => session.presenceStats(name)}>Stats</button>
        <button type="button" class="quiet" data-testid="history" disabled={off} onClick={() => session.history(name, 20)}>History</button>
        {channel.origin === "client" && (
          <>
            <span class="grow" />
            {channel.state === "unsubscribed"
              ? <button type="button" class="quiet" data-testid="resubscribe" onClick={() => session.resubscribe(name)}>Subscribe</button>
              : <button type="button" class="quiet" data-testid="unsubscribe" onClick={() => session.unsubscribe(name)}>Unsubscribe</button>}
          </>
        )}
      </div>
      {channel.result && (
        <div class="result" data-testid="channel-result">
          <div class="row between">
            <b>{channel.result.title}</b>
            <button type="button" class="bare" aria-label="Close" onClick={() => {
              channel.result = undefined;
              session.changed();
            }}>×</button>
          </div>
          <pre>{pretty(channel.result.value)}</pre>
        </div>
      )}
    </li>
  );
}
