import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

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

export function CopyButton(props: { text: string; testid: string; label?: string }) {
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
  return (
    <button type="button" class="quiet" data-testid={props.testid} onClick={copy}>
      {copied ? "Copied" : (props.label ?? "Copy")}
    </button>
  );
}

export function Choice<T extends string>(props: {
  testid: string;
  label: string;
  value: T;
  options: [T, string][];
  onChange: (value: T) => void;
}) {
  return (
    <div class="choice" role="radiogroup" aria-label={props.label} data-testid={props.testid}>
      {props.options.map(([value, label]) => (
        <button
          type="button"
          role="radio"
          aria-checked={props.value === value}
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

export function clock(at: number): string {
  const date = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
