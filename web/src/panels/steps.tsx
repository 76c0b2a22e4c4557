import { useState } from "preact/hooks";
import type { Session } from "../session";
import { useStore } from "../store";

/** The way to a first message. What is done is ticked off. */
export function Steps(props: { session: Session; named: string; ready: boolean }) {
  const session = useStore(props.session);
  const [hidden, setHidden] = useState(false);
  if (hidden) return null;
  const { connected, subscribed, received } = session.done;
  const steps: [string, boolean, string][] = [
    ["Connect", connected, props.ready ? "with the token for this server" : "with a token that your backend signed"],
    ["Subscribe", subscribed, `to ${props.named}, or to any channel that is allowed`],
    ["Publish", received, "here or from a terminal, and see it arrive"],
  ];
  const next = steps.findIndex(([, done]) => !done);
  return (
    <section class="steps card" aria-label="Three steps to a live message" data-testid="steps">
      <ol>
        {steps.map(([name, done, how], at) => (
          <li key={name} class={done ? "done" : ""} aria-current={at === next ? "step" : undefined} data-testid="step" data-done={done}>
            <span class="mark" aria-hidden="true">{done ? "✓" : at + 1}</span>
            <span>
              <b>{name}</b>
              <span class="unseen">{done ? ", done:" : ":"}</span> <span class="dim">{how}</span>
            </span>
          </li>
        ))}
      </ol>
      {next < 0 && <button type="button" class="bare" data-testid="steps-hide" title="Hide" aria-label="Hide the steps" onClick={() => setHidden(true)}>×</button>}
    </section>
  );
}
