import { useState } from "preact/hooks";
import type { Protocol, Session } from "../session";
import { useStore } from "../store";
import { Card, Check, Choice } from "../ui";
import { TokenView } from "./token";

export interface ConnectionForm {
  url: string;
  token: string;
  protocol: Protocol;
  renew: boolean;
}

export function Connection(props: {
  session: Session;
  form: ConnectionForm;
  change: (part: Partial<ConnectionForm>) => void;
  readyToken?: string;
  canRenew: boolean;
  /** Whether the server may be asked about tokens. */
  ask: boolean;
  connect: () => void;
}) {
  const session = useStore(props.session);
  const { form, change } = props;
  const idle = session.state === "disconnected";
  const [problem, setProblem] = useState("");

  const submit = (event: Event) => {
    event.preventDefault();
    if (!idle) {
      session.disconnect();
      return;
    }
    const fault = urlFault(form.url);
    setProblem(fault);
    if (!fault) props.connect();
  };

  return (
    <Card title="Connection" testid="connection">
      <form onSubmit={submit}>
        <label class="field">
          <span>Server</span>
          <input
            type="text"
            inputMode="url"
            spellcheck={false}
            autocomplete="off"
            data-testid="url"
            value={form.url}
            disabled={!idle}
            onInput={(event) => change({ url: event.currentTarget.value })}
          />
        </label>
        {problem && <p class="note bad" data-testid="url-problem">{problem}</p>}
        <label class="field">
          <span>
            Token
            {props.readyToken && form.token !== props.readyToken && (
              <button
                type="button"
                class="link"
                data-testid="use-ready-token"
                onClick={() => change({ token: props.readyToken })}
              >
                use the ready-made one
              </button>
            )}
          </span>
          <textarea
            rows={4}
            class="mono"
            spellcheck={false}
            autocomplete="off"
            placeholder="A JWT. Leave empty to connect without one."
            data-testid="token"
            value={form.token}
            disabled={!idle}
            onInput={(event) => change({ token: event.currentTarget.value })}
          />
        </label>
        <TokenView token={form.token} ask={props.ask} />
        <div class="row between">
          <Choice
            testid="protocol"
            label="Protocol"
            value={form.protocol}
            options={[["json", "JSON"], ["protobuf", "Protobuf"]]}
            onChange={(protocol) => idle && change({ protocol })}
          />
          {props.canRenew && (
            <Check
              testid="renew"
              label="Renew token"
              title="When the token expires, fetch a new ready-made one, as an application's getToken would"
              value={form.renew}
              onChange={(renew) => change({ renew })}
            />
          )}
        </div>
        <button type="submit" class={idle ? "primary wide" : "wide"} data-testid={idle ? "connect" : "disconnect"}>
          {idle ? "Connect" : "Disconnect"}
        </button>
      </form>
      <Ending session={session} />
    </Card>
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
        <strong>{ending.title}</strong>
        {ending.reason && <span class="dim" data-testid="ending-reason">{ending.reason}</span>}
      </p>
      <p data-testid="ending-advice">{ending.advice}</p>
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
