import type { FilterNode, SubscriptionOptions } from "centrifuge/build/protobuf";
import { useRef, useState } from "preact/hooks";
import { pretty, typed } from "../payload";
import type { Channel, Session } from "../session";
import { useStore } from "../store";
import { Card, Changes, Check, Text } from "../ui";

export function Channels(props: { session: Session; name: string; setName: (name: string) => void }) {
  const session = useStore(props.session);
  const [options, setOptions] = useState({ recoverable: false, positioned: false, joinLeave: false, delta: false });
  const [token, setToken] = useState("");
  const [filter, setFilter] = useState("");
  const [data, setData] = useState("");
  const [problem, setProblem] = useState("");
  const field = useRef<HTMLInputElement>(null);
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
    if (filter.trim()) {
      const tree = typed(filter);
      if (!tree || typeof tree !== "object") {
        setProblem('The filter is a JSON tree, for example {"key": "city", "cmp": "eq", "val": "Oslo"}.');
        return;
      }
      chosen.tagsFilter = tree as FilterNode;
    }
    try {
      session.subscribe(name, { options: chosen, data: data.trim() ? typed(data) : undefined });
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
            ref={field}
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
        {problem && <p class="note bad" role="alert" data-testid="subscribe-problem">{problem}</p>}
      </form>
      <ul class="channels">
        {channels.map((channel) => (
          <Row key={channel.name} session={session} channel={channel} remove={() => {
            session.remove(channel.name);
            // The button that had the focus is gone.
            field.current?.focus();
          }} />
        ))}
      </ul>
    </Card>
  );
}

function Row({ session, channel, remove }: { session: Session; channel: Channel; remove: () => void }) {
  const { name, refusal } = channel;
  const off = session.state !== "connected";
  const call = (method: string, label: string, run: () => void) => (
    <button type="button" class="quiet" data-testid={method} disabled={off} aria-busy={session.pending.has(`${name}/${method}`)} onClick={run}>
      {label}
    </button>
  );
  return (
    <li data-testid="channel-row" data-channel={name} data-state={channel.state}>
      <div class="row between">
        <span class="name">
          <i class={`dot ${channel.state}`} title={channel.state} />
          <b>{name}</b>
          <span class="unseen">{channel.state}</span>
          {channel.origin === "server" && <span class="tag">server-side</span>}
          {channel.granted.map((grant) => <span class="tag">{grant}</span>)}
        </span>
        <span class="corner">
          <span class="dim figures">
            <span data-testid="channel-received">{channel.received}</span> received
            {channel.offset !== undefined && ` · offset ${channel.offset}`}
          </span>
          {channel.origin === "client" && (
            <button type="button" class="bare" data-testid="remove" title="Remove" aria-label={`Remove ${name}`} onClick={remove}>×</button>
          )}
        </span>
      </div>
      {channel.note && <p class="note bad" data-testid="channel-note">{channel.note}</p>}
      {refusal && (
        <div class="why" role="status" data-testid="channel-refusal">
          <p class="note bad" data-testid="channel-note">{`${refusal.code} ${refusal.message}: ${refusal.reason}`}</p>
          <Changes changes={refusal.changes} testid="channel-change" />
        </div>
      )}
      <div class="actions">
        {call("presence", "Presence", () => session.presence(name))}
        {call("presence_stats", "Stats", () => session.presenceStats(name))}
        {call("history", "History", () => session.history(name, 20))}
        {channel.origin === "client" && (
          <>
            <span class="grow" />
            <button type="button" class="quiet" data-testid={channel.state === "unsubscribed" ? "resubscribe" : "unsubscribe"}
              onClick={() => channel.state === "unsubscribed" ? session.resubscribe(name) : session.unsubscribe(name)}>
              {channel.state === "unsubscribed" ? "Subscribe" : "Unsubscribe"}
            </button>
          </>
        )}
      </div>
      {channel.result && (
        <div class="result" data-testid="channel-result">
          <div class="row between">
            <b>{channel.result.title}</b>
            <button type="button" class="bare" aria-label={`Close ${channel.result.title}`} onClick={(event) => {
              channel.result = undefined;
              session.changed();
              event.currentTarget.closest("li")?.querySelector<HTMLButtonElement>(".actions button")?.focus();
            }}>×</button>
          </div>
          <Text label={channel.result.title} text={pretty(channel.result.value)} />
        </div>
      )}
    </li>
  );
}
