import { useEffect, useState } from "preact/hooks";
import { explainToken, type Question } from "../dev";
import { pretty } from "../payload";
import { useSeconds } from "../store";
import { claimMeaning, claimTime, inspect, type Note } from "../token";
import { Changes, Text } from "../ui";

/** What the token says: read here in the page, and explained by the server where it offers that. */
export function TokenView({ token, ask }: { token: string; ask: boolean }) {
  const now = useSeconds(token !== "");
  const seen = inspect(token, now);
  const account = useAccount({ token }, ask);

  if (seen.kind === "empty") {
    return <p class="note" data-testid="token-note">No token: the server must allow anonymous connections.</p>;
  }
  if (seen.kind === "broken") {
    return <p class="note bad" data-testid="token-note">{seen.why}</p>;
  }
  const user = typeof seen.claims.sub === "string" && seen.claims.sub ? seen.claims.sub : "anonymous";
  const refused = refusedBy(account);
  const local = seen.notes.find((note) => note.level === "bad") ?? seen.notes.find((note) => note.level === "warn") ??
    seen.notes[0];
  // The claims are read here; that the server takes the token, it alone can tell.
  const first: Note | undefined = refused && local?.level !== "bad" ? { level: "bad", text: refused.summary } : local;
  return (
    <div class="token-view">
      <details class="token" data-testid="token-inspector">
        <summary>
          <span class="tag">{String(seen.header.alg ?? "?")}</span>
          <span class="who">user <b data-testid="token-user">{user}</b></span>
          {first && <span class={`verdict ${first.level}`} data-testid="token-verdict">{first.text}</span>}
        </summary>
        <table>
          <tbody>
            {Object.entries(seen.claims).map(([name, value]) => (
              <tr key={name} data-testid={`claim-${name}`}>
                <th>
                  {name}
                  <small>{claimMeaning(name)}</small>
                </th>
                <td>
                  <code>{typeof value === "string" ? value : JSON.stringify(value)}</code>
                  <small>{claimTime(name, value, now)}</small>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
        <ul class="notes">
          {seen.notes.map((note) => <li class={note.level}>{note.text}</li>)}
        </ul>
        {account === null
          ? <p class="note">Read in this page; the signature is checked when you connect.</p>
          : <Account value={account} />}
        {account !== null && <WhatIf token={token} />}
      </details>
      {refused && <Changes changes={[refused.fix]} testid="token-change" />}
    </div>
  );
}

/** The server's refusal of a token, and what to do about it. */
function refusedBy(account: unknown): { summary: string; fix: string } | null {
  if (!account || typeof account !== "object") return null;
  const { reason, summary, fix } = account as Record<string, unknown>;
  return reason !== undefined && typeof summary === "string" && typeof fix === "string" ? { summary, fix } : null;
}

const ACTIONS = ["subscribe", "publish", "presence", "presence_stats", "history"];

/** What the server would decide about something done with the token: which rule decides, and what to change. */
function WhatIf({ token }: { token: string }) {
  const [channel, setChannel] = useState("");
  const [action, setAction] = useState("subscribe");
  const decision = useAccount({ token, action, channel: channel.trim() }, channel.trim() !== "");
  return (
    <div class="what-if">
      <label>
        Would it be allowed to
        <select value={action} onChange={(event) => setAction(event.currentTarget.value)} data-testid="what-if-action">
          {ACTIONS.map((name) => <option value={name}>{name}</option>)}
        </select>
      </label>
      <label>
        in the channel
        <input value={channel} onInput={(event) => setChannel(event.currentTarget.value)} data-testid="what-if-channel" />
      </label>
      {decision !== null && (
        <div data-testid="what-if">
          <Account value={inWords(decision)} />
        </div>
      )}
    </div>
  );
}

/** A decision as the account of a token is: a sentence, and what could be changed. */
function inWords(decision: unknown): unknown {
  if (!decision || typeof decision !== "object") return decision;
  const { verdict, code, reason, change, rule, fault, trail, granted } = decision as Record<string, unknown>;
  const changes = Array.isArray(change) ? change : [];
  const asked = Array.isArray(trail) ? trail : [];
  return {
    summary: `${verdict}${code === undefined ? "" : ` ${code}`}: ${reason}.`,
    steps: changes.map((text) => ({ text: `to allow it: ${text}` })),
    rule,
    ...(fault === undefined ? {} : { fault }),
    ...(granted === undefined ? {} : { granted }),
    asked: asked.map((step: Record<string, unknown>) => `${step.rule}=${step.outcome}`),
  };
}

function useAccount({ token, action, channel }: Question, ask: boolean): unknown {
  const [account, setAccount] = useState<unknown>(null);
  useEffect(() => {
    setAccount(null);
    if (!ask || token.trim() === "") return;
    let wanted = true;
    const timer = setTimeout(async () => {
      const answer = await explainToken({ token: token.trim(), action, channel });
      if (wanted) setAccount(answer);
    }, 300);
    return () => {
      wanted = false;
      clearTimeout(timer);
    };
  }, [token, action, channel, ask]);
  return account;
}

interface Step {
  ok?: boolean;
  text: string;
}

/** The server's account: a sentence, steps with a tick or a cross, and whatever else it says as it is. */
function Account({ value }: { value: unknown }) {
  if (!value || typeof value !== "object") return <p class="note" data-testid="token-account">{String(value)}</p>;
  const rest: Record<string, unknown> = { ...(value as Record<string, unknown>) };
  const sentence = take(rest, ["summary", "message", "verdict"]);
  const steps = takeSteps(rest);
  return (
    <div class="account" data-testid="token-account">
      <h3>The server says</h3>
      {sentence && <p>{sentence}</p>}
      {steps.length > 0 && (
        <ul class="notes">
          {steps.map((step) => <li class={step.ok === undefined ? "info" : step.ok ? "good" : "bad"}>{step.text}</li>)}
        </ul>
      )}
      {Object.keys(rest).length > 0 && <Text label="Details" text={pretty(rest)} />}
    </div>
  );
}

function take(from: Record<string, unknown>, names: string[]): string {
  const name = names.find((candidate) => typeof from[candidate] === "string");
  if (!name) return "";
  const text = from[name] as string;
  delete from[name];
  return text;
}

function takeSteps(from: Record<string, unknown>): Step[] {
  const steps = from.steps ?? from.checks;
  if (!Array.isArray(steps)) return [];
  delete from.steps;
  delete from.checks;
  return steps.map((step): Step => {
    if (!step || typeof step !== "object") return { text: String(step) };
    const { ok, ...words } = step as Record<string, unknown>;
    const text = Object.values(words).filter((word) => typeof word === "string" || typeof word === "number").join(": ");
    return { ok: typeof ok === "boolean" ? ok : undefined, text };
  });
}
