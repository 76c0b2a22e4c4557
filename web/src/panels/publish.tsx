import { useRef, useState } from "preact/hooks";
import { apiPublish, type DevInfo } from "../dev";
import { typed } from "../payload";
import type { Refusal } from "../refusal";
import { drawn, type Session } from "../session";
import { useStore } from "../store";
import { Card, Changes, Choice } from "../ui";

type Way = "client" | "api";

interface Failure {
  code: number;
  message: string;
}

export function Publish(props: {
  session: Session;
  /** Address of the API's method. */
  url: string;
  channel: string;
  readyKey?: string;
  refresh: () => Promise<DevInfo | null>;
}) {
  const session = useStore(props.session);
  const [own, setOwn] = useState<string | null>(null);
  const [data, setData] = useState('{"text": "hello"}');
  const [tags, setTags] = useState("");
  const [chosen, setWay] = useState<Way | null>(null);
  const [key, setKey] = useState<string | null>(null);
  const [waiting, setWaiting] = useState(false);
  // Clicks may come faster than the page is drawn.
  const busy = useRef(false);
  const [answer, setAnswer] = useState<Refusal | "published" | null>(null);

  const channel = own ?? props.channel;
  // The API may publish anywhere, a client only where the channel's options let it.
  const way = chosen ?? (props.readyKey ? "api" : "client");
  const apiKey = key ?? props.readyKey ?? "";
  const value = typed(data);
  const plainText = typeof value === "string" && !data.trim().startsWith('"');
  const able = channel.trim() !== "" && (way === "client" ? session.state === "connected" : apiKey !== "");

  const byApi = async (): Promise<Refusal | null> => {
    const tree = tags.trim() ? typed(tags) : undefined;
    const body = { channel: channel.trim(), data: value, tags: tree };
    const send = (key: string) => apiPublish(props.url, key, body);
    try {
      await drawn();
      const { result, took } = await send(apiKey).catch(async (error: Failure) => {
        // A server that was started again may have new keys.
        const fresh = error?.code === 401 && apiKey === props.readyKey ? (await props.refresh())?.api_key : undefined;
        if (!fresh || fresh === apiKey) throw error;
        return send(fresh);
      });
      session.report(channel, `Published through the server API${took === undefined ? "" : ` (${took.toFixed(1)} ms)`}`, result);
      return null;
    } catch (error) {
      const known = error && typeof error === "object" && "code" in error;
      const failure = known ? error as Failure : { code: 0, message: "the API could not be reached from this page" };
      session.report(channel, "server API", undefined, failure);
      const reason = failure.code === 102 ? "channel.namespaces has no namespace of this name." : "";
      return { ...failure, reason, changes: [] };
    }
  };

  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy.current || !able) return;
    busy.current = true;
    setWaiting(true);
    setAnswer(null);
    const refusal = way === "client" ? await session.publish(channel.trim(), value) : await byApi();
    setAnswer(refusal ?? "published");
    setWaiting(false);
    busy.current = false;
  };

  return (
    <Card
      title="Publish"
      testid="publish-card"
      side={
        <Choice testid="door" label="Publish as" value={way} options={[["client", "As client"], ["api", "Server API"]]} onChange={setWay} />
      }
    >
      <form onSubmit={submit}>
        <label class="field">
          <span>Channel</span>
          <input type="text" list="known-channels" spellcheck={false} autocomplete="off" data-testid="publish-channel" value={channel}
            onInput={(event) => setOwn(event.currentTarget.value)} />
          <datalist id="known-channels">
            {[...session.channels.keys()].map((name) => <option value={name} />)}
          </datalist>
        </label>
        <label class="field">
          <span>Data {plainText && <em>not JSON: sent as a string</em>}</span>
          <textarea rows={2} class="mono" spellcheck={false} data-testid="publish-data" value={data}
            onInput={(event) => setData(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit();
            }} />
        </label>
        <div class="row between">
          <button type="submit" class="primary" data-testid="publish" disabled={!able} aria-disabled={waiting} aria-busy={waiting}>
            {waiting ? "Publishing…" : "Publish"}
          </button>
          <span class={answer === "published" ? "good" : "bad"} role="status" data-testid="publish-answer">
            {answer === "published" ? "Published" : answer && `${answer.code} ${answer.message}`}
          </span>
        </div>
        {answer && answer !== "published" && (
          <div class="why" data-testid="publish-refusal">
            {answer.reason && <p class="note bad">{answer.reason}</p>}
            <Changes changes={answer.changes} testid="publish-change" />
          </div>
        )}
        {way === "api" && (
          <details class="options" data-testid="publish-options">
            <summary>Options</summary>
            <div class="pair">
              <label class="field">
                <span>API key</span>
                <input class="mono" type="password" autocomplete="off" data-testid="api-key" value={apiKey}
                  onInput={(event) => setKey(event.currentTarget.value)} />
              </label>
              <label class="field">
                <span>Tags</span>
                <input class="mono" spellcheck={false} autocomplete="off" placeholder='{"city": "Oslo"}' data-testid="publish-tags" value={tags}
                  onInput={(event) => setTags(event.currentTarget.value)} />
              </label>
            </div>
          </details>
        )}
      </form>
    </Card>
  );
}
