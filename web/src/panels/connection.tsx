import { useRef, useState } from "preact/hooks";
import type { Protocol, Session } from "../session";
import { useStore } from "../store";
import { Card, Changes, Check, Choice } from "../ui";
import { TokenView } from "./token";

export interface ConnectionForm {
  url: string;
  token: string;
  protocol: Protocol;
  renew: boolean;
}

interface FormProps {
  form: ConnectionForm;
  change: (part: Partial<ConnectionForm>) => void;
  readyToken?: string;
  /** The server may be asked about tokens. */
  ask: boolean;
}

export function Connection(props: FormProps & { session: Session; connect: () => void }) {
  const session = useStore(props.session);
  const { form } = props;
  const idle = session.state === "disconnected";
  const [problem, setProblem] = useState("");
  const button = useRef<HTMLButtonElement>(null);

  const submit = (event: Event) => {
    event.preventDefault();
    if (!idle) {
      session.disconnect();
      return;
    }
    const fault = urlFault(form.url);
    setProblem(fault);
    if (fault) return;
    // The field that has the focus goes with this.
    button.current?.focus();
    props.connect();
  };

  return (
    <Card title="Connection" testid="connection">
      <form onSubmit={submit} class={idle ? "" : "brief"}>
        {idle ? <Fields {...props} problem={problem} /> : <code title={form.url} data-testid="connected-url">{form.url}</code>}
        <button key="go" type="submit" ref={button} class={idle ? "primary wide" : ""} data-testid={idle ? "connect" : "disconnect"}>
          {idle ? "Connect" : session.state === "connecting" ? "Stop" : "Disconnect"}
        </button>
      </form>
      {!idle && <TokenView token={form.token} ask={props.ask} />}
      <Ending session={session} />
    </Card>
  );
}

function Fields({ form, change, readyToken, ask, problem }: FormProps & { problem: string }) {
  const stale = readyToken !== undefined && form.token !== readyToken;
  return (
    <>
      <label class="field">
        <span>Server</span>
        <input
          type="text"
          inputMode="url"
          spellcheck={false}
          autocomplete="off"
          aria-describedby={problem ? "url-problem" : undefined}
          aria-invalid={problem !== ""}
          data-testid="url"
          value={form.url}
          onInput={(event) => change({ url: event.currentTarget.value })}
        />
      </label>
      {problem && <p class="note bad" id="url-problem" role="alert" data-testid="url-problem">{problem}</p>}
      <div class="field">
        <span>
          <label for="token">Token</label>
          {stale && (
            <button type="button" class="link" data-testid="use-ready-token" onClick={() => change({ token: readyToken })}>
              use the ready-made one
            </button>
          )}
        </span>
        <textarea
          id="token"
          rows={3}
          class="mono"
          spellcheck={false}
          autocomplete="off"
          placeholder="A JWT. Leave empty to connect without one."
          data-testid="token"
          value={form.token}
          onInput={(event) => change({ token: event.currentTarget.value })}
        />
      </div>
      <TokenView token={form.token} ask={ask} />
      <div class="row between">
        <Choice
          testid="protocol"
          label="Protocol"
          value={form.protocol}
          options={[["json", "JSON"], ["protobuf", "Protobuf"]]}
          onChange={(protocol) => change({ protocol })}
        />
        {readyToken !== undefined && !stale && (
          <Check
            testid="renew"
            label="Renew token"
            title="When the token expires, fetch a new ready-made one, as an application's getToken would"
            value={form.renew}
            onChange={(renew) => change({ renew })}
          />
        )}
      </div>
    </>
  );
}

function Ending({ session }: { session: Session }) {
  const ending = session.ending;
  if (!ending) return null;
  const tone = ending.code === 0 ? "calm" : ending.trying ? "warn" : "bad";
  return (
    <div class={`ending ${tone}`} role="status" data-testid="ending">
      <p>
        <code data-testid="ending-code">{ending.code}</code>
        <strong data-testid="ending-title">{ending.title}</strong>
        {ending.reason && <span class="dim" data-testid="ending-reason">{ending.reason}</span>}
      </p>
      <p data-testid="ending-advice">{ending.advice}</p>
      <Changes changes={ending.changes} testid="ending-change" />
    </div>
  );
}

function urlFault(text: string): string {
  try {
    const { protocol } = new URL(text.trim());
    return protocol === "ws:" || protocol === "wss:" ? "" : "The address must begin with ws:// or wss://.";
  } catch {
    return "This is not a full address. Example: ws://localhost:8000/connection/websocket";
  }
}
