import { useMemo, useState } from "preact/hooks";
import type { Entry, Kind, Log } from "../log";
import { pretty } from "../payload";
import { useStore } from "../store";
import { CopyButton, clock } from "../ui";
import type { ComponentChildren } from "preact";

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

export function LogPanel(props: { log: Log; empty: ComponentChildren }) {
  const log = useStore(props.log);
  const [group, setGroup] = useState("all");
  const [text, setText] = useState("");
  const [held, setHeld] = useState<Entry[] | null>(null);
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());

  const source = held ?? log.entries;
  const kinds = GROUPS.find(([name]) => name === group)![2];
  const wanted = text.trim().toLowerCase();
  const matching = source.filter((entry) =>
    (kinds.length === 0 || kinds.includes(entry.kind)) &&
    (wanted === "" || `${entry.channel} ${entry.text}`.toLowerCase().includes(wanted))
  );
  const shown = matching.slice(-SHOWN).reverse();
  const waiting = held ? (log.entries.at(-1)?.id ?? 0) - (held.at(-1)?.id ?? 0) : 0;
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
            onClick={() => setHeld(held ? null : [...log.entries])}>
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
      <div class="groups" role="tablist" aria-label="Kinds of events">
        {GROUPS.map(([name, label]) => (
          <button type="button" role="tab" aria-selected={group === name} data-testid={`log-${name}`} onClick={() => setGroup(name)}>
            {label}
          </button>
        ))}
      </div>
      {source.length === 0
        ? props.empty
        : (
          <ol class="events" data-testid="events">
            {shown.map((entry) => <Line key={entry.id} entry={entry} open={open.has(entry.id)} flip={flip} />)}
          </ol>
        )}
      {source.length > 0 && shown.length === 0 && <p class="note">No event matches.</p>}
      {matching.length > SHOWN && <p class="note">The newest {SHOWN} of {matching.length + log.dropped}.</p>}
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
      <button type="button" class="line" aria-expanded={more ? open : undefined} disabled={!more} onClick={() => flip(entry.id)}>
        <time>{clock(entry.at)}</time>
        <span class="kind">{LABEL[entry.kind]}</span>
        <span class="where">
          {entry.channel}
          {entry.offset !== undefined && <small title="offset">#{entry.offset}</small>}
        </span>
        <span class="text" data-testid="event-text">{entry.text}</span>
      </button>
      {open && more && (
        <div class="detail">
          <pre data-testid="event-detail">{pretty(entry.detail)}</pre>
          <CopyButton text={pretty(entry.detail)} testid="event-copy" />
        </div>
      )}
    </li>
  );
}
