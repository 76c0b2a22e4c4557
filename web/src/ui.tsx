import type { ComponentChildren } from "preact";
import { useRef, useState } from "preact/hooks";
import { lineOf } from "./refusal";

export function Card(props: { title: string; testid: string; side?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="card" data-testid={props.testid}>
      <header>
        <h2>{props.title}</h2>
        {props.side}
      </header>
      {props.children}
    </section>
  );
}

export function CopyButton(props: { text: string; testid: string; label?: string; name?: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(props.text);
    } catch {
      // Plain http on another host than localhost has no clipboard API.
      const area = document.createElement("textarea");
      area.value = props.text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  const label = copied ? "Copied" : (props.label ?? "Copy");
  return (
    <button type="button" class="quiet" data-testid={props.testid} aria-label={props.name && `${label}: ${props.name}`} onClick={copy}>
      {label}
    </button>
  );
}

/** Moves focus and choice between the elements of a group, of which one alone is in the tab order. */
function useArrows<T>(values: T[], value: T, choose: (value: T) => void) {
  const group = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent) => {
    const at = values.indexOf(value);
    const to: Record<string, number> = {
      ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: values.length - 1,
    };
    if (!(event.key in to)) return;
    event.preventDefault();
    const next = (to[event.key] + values.length) % values.length;
    choose(values[next]);
    group.current?.querySelectorAll("button")[next]?.focus();
  };
  return { group, onKeyDown };
}

export function Choice<T extends string>(props: {
  testid: string;
  label: string;
  value: T;
  options: [T, string][];
  onChange: (value: T) => void;
}) {
  const { group, onKeyDown } = useArrows(props.options.map(([value]) => value), props.value, props.onChange);
  return (
    <div class="choice" role="radiogroup" aria-label={props.label} data-testid={props.testid} ref={group} onKeyDown={onKeyDown}>
      {props.options.map(([value, label]) => (
        <button
          key={value}
          type="button"
          role="radio"
          aria-checked={props.value === value}
          tabIndex={props.value === value ? 0 : -1}
          data-testid={`${props.testid}-${value}`}
          onClick={() => props.onChange(value)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

/** Tabs over the panel with the id `panel`. */
export function Tabs(props: { testid: string; label: string; panel: string; value: string; options: [string, string][]; onChange: (value: string) => void }) {
  const { group, onKeyDown } = useArrows(props.options.map(([value]) => value), props.value, props.onChange);
  return (
    <div class="groups" role="tablist" aria-label={props.label} ref={group} onKeyDown={onKeyDown}>
      {props.options.map(([value, label]) => (
        <button
          key={value}
          type="button"
          role="tab"
          id={`${props.panel}-${value}`}
          aria-selected={props.value === value}
          aria-controls={props.panel}
          tabIndex={props.value === value ? 0 : -1}
          data-testid={`${props.testid}-${value}`}
          onClick={() => props.onChange(value)}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

export function Check(props: { testid: string; label: string; title?: string; value: boolean; onChange: (value: boolean) => void }) {
  return (
    <label class="check" title={props.title}>
      <input
        type="checkbox"
        data-testid={props.testid}
        checked={props.value}
        onChange={(event) => props.onChange(event.currentTarget.checked)}
      />
      {props.label}
    </label>
  );
}

/** Text that may be longer than its place: it scrolls, by keys too. */
export function Text(props: { label: string; text: string; testid?: string }) {
  return <pre tabIndex={0} role="group" aria-label={props.label} data-testid={props.testid}>{props.text}</pre>;
}

/** What to change so that it is allowed, each with its line to copy: lines of the configuration first. */
export function Changes({ changes, testid }: { changes: string[]; testid: string }) {
  if (changes.length === 0) return null;
  const lines = changes.map((change) => ({ change, line: lineOf(change) }));
  const isText = ({ change, line }: { change: string; line: string }) => Number(change === line);
  lines.sort((one, other) => isText(one) - isText(other));
  return (
    <ul class="changes" aria-label={changes.length > 1 ? "To allow it, one of these" : "To allow it"} data-testid={testid}>
      {lines.map(({ change, line }) => (
        <li key={change}>
          <span>{change}</span>
          <CopyButton text={line} name={line} label={line === change ? "Copy" : "Copy line"} testid={`${testid}-copy`} />
        </li>
      ))}
    </ul>
  );
}

export function clock(at: number): string {
  const date = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
