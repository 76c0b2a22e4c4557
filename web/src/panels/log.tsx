import { useMemo, useState } from "preact/hooks";
import type { Entry, Kind, Log } from "../log";
import { pretty } from "../payload";
import { useStore } from "../store";
import { CopyButton, clock, Tabs, Text } from "../ui";

const SHOWN = 300;

const GROUPS: [string, string, Kind[]][] = [
  ["all", "All", []],
  ["messages", "Messages", ["pub"]],
  ["people", "Join / leave", ["join", "leave"]],
  ["state", "State", ["conn", "sub", "error"]],
];

const LABEL: Record<Kind, string> = {
  conn: "connection", sub: "channel", pub: "message", join: "join", leave: "leave", call: "call", error: "error",
};

export function LogPanel(props: { log: Log }) {
  const log = useStore(props.log);
  const [group, setGroup] = useState("all");
  const [text, setText] = useState("");
  const [held, setHeld] = useState<{ entries: Entry[]; dropped: number } | null>(null);
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());

  const { entries: source, dropped } = held ?? log;
  const kinds = GROUPS.find(([name]) => name === group)![2];
  const wanted = text.trim().toLowerCase();
  const matching = source.filter((entry) =>
    (kinds.length === 0 || kinds.includes(entry.kind)) &&
    (wanted === "" || `${entry.channel} ${entry.text}`.toLowerCase().includes(wanted))
  );
  const shown = matching.slice(-SHOWN).reverse();
  const waiting = held ? (log.entries.at(-1)?.id ?? 0) - (held.entries.at(-1)?.id ?? 0) : 0;
  /** Of what was dropped nobody knows if it would match. */
  const counted = () => {
    const all = kinds.length === 0 && wanted === "";
    const number = (n: number) => n.toLocaleString("en");
    const total = all ? matching.length + dropped : matching.length;
    const kept = all || dropped === 0 ? "" : `; ${number(dropped)} older events are no longer kept`;
    return `The newest ${number(shown.length)} of ${number(total)}${all ? "" : " that match"}${kept}.`;
  };
  const flip = (id: number) => {
    const next = new Set(open);
    if (!next.delete(id)) next.add(id);
    setOpen(next);
  };

  return (
    <section class="card log" data-testid="log">
      <header>
        <h2>Events</h2>
        <div class="tools">
          <input type="search" placeholder="Filter" aria-label="Filter events" data-testid="log-filter" value={text}
            onInput={(event) => setText(event.currentTarget.value)} />
          <button type="button" class="quiet" aria-pressed={held !== null} data-testid="log-pause"
            onClick={() => setHeld(held ? null : { entries: [...log.entries], dropped: log.dropped })}>
            {held ? (waiting > 0 ? `Resume (${waiting} new)` : "Resume") : "Pause"}
          </button>
          <CopyAll entries={matching} />
          <button type="button" class="quiet" data-testid="log-clear" onClick={() => {
            log.clear();
            setHeld(null);
            setOpen(new Set());
          }}>Clear</button>
        </div>
      </header>
      <Tabs testid="log" label="Kinds of events" panel="log-panel" value={group}
        options={GROUPS.map(([name, label]) => [name, label])} onChange={setGroup} />
      <div role="tabpanel" id="log-panel" aria-labelledby={`log-panel-${group}`}>
        {shown.length > 0 && (
          <ol class="events" tabIndex={0} aria-label="Events, the newest first" data-testid="events">
            {shown.map((entry) => <Line key={entry.id} entry={entry} open={open.has(entry.id)} flip={flip} />)}
          </ol>
        )}
        {shown.length === 0 && <p class="note none">{source.length === 0 ? "What happens on the connection is listed here." : "No event matches."}</p>}
        {matching.length > SHOWN || dropped > 0 ? <p class="note count" data-testid="log-count">{counted()}</p> : null}
      </div>
    </section>
  );
}

function CopyAll({ entries }: { entries: Entry[] }) {
  const text = useMemo(
    () =>
      JSON.stringify(
        entries.map(({ at, kind, channel, text, offset, detail }) => ({ at: new Date(at).toISOString(), kind, channel, text, offset, detail })),
        null,
        1,
      ),
    [entries.length, entries.at(-1)?.id],
  );
  return <CopyButton text={text} testid="log-copy" />;
}

function Line({ entry, open, flip }: { entry: Entry; open: boolean; flip: (id: number) => void }) {
  const more = entry.detail !== undefined;
  return (
    <li class={entry.kind} data-testid="event" data-kind={entry.kind} data-channel={entry.channel}>
      {more
        ? <button type="button" class="line" aria-expanded={open} onClick={() => flip(entry.id)}><Facts entry={entry} /></button>
        : <div class="line"><Facts entry={entry} /></div>}
      {open && more && (
        <div class="detail">
          <Text label="Event" text={pretty(entry.detail)} testid="event-detail" />
          <CopyButton text={pretty(entry.detail)} testid="event-copy" />
        </div>
      )}
    </li>
  );
}

function Facts({ entry }: { entry: Entry }) {
  return (
    <>
      <time>{clock(entry.at)}</time>
      <span class="kind">{LABEL[entry.kind]}</span>
      <span class="where">
        {entry.channel}
        {entry.offset !== undefined && <small title="offset">#{entry.offset}</small>}
      </span>
      <span class="text" data-testid="event-text">{entry.text}</span>
    </>
  );
}
