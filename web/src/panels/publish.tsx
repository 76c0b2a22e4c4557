import { useState } from "preact/hooks";
import { apiPublish } from "../dev";
import { typed } from "../payload";
import type { Session } from "../session";
import { useStore } from "../store";
import { Card, Choice } from "../ui";

type Door = "client" | "api";

export function Publish(props: { session: Session; socket: string; channel: string; readyKey?: string }) {
  const session = useStore(props.session);
  const [own, setOwn] = useState<string | null>(null);
  const [data, setData] = useState('{"text": "hello"}');
  const [tags, setTags] = useState("");
  const [chosen, setDoor] = useState<Door | null>(null);
  const [key, setKey] = useState<string | null>(null);
  const [answer, setAnswer] = useState<{ ok: boolean; text: string } | null>(null);

  const channel = own ?? props.channel;
  // The API may publish anywhere, a client only where the channel's options let it.
  const door = chosen ?? (props.readyKey ? "api" : "client");
  const apiKey = key ?? props.readyKey ?? "";
  const value = typed(data);
  const plainText = typeof value === "string" && !data.trim().startsWith('"');

  const submit = async (event: Event) => {
    event.preventDefault();
    setAnswer(null);
    if (door === "client") {
      const ok = await session.publish(channel.trim(), value);
      setAnswer(ok ? { ok, text: "Published" } : { ok, text: "Refused: see the log" });
      return;
    }
    try {
      const tree = tags.trim() ? typed(tags) : undefined;
      const result = await apiPublish(props.socket, apiKey, { channel: channel.trim(), data: value, tags: tree });
      session.report(channel, "Published through the server API", result);
      setAnswer({ ok: true, text: "Published" });
    } catch (error) {
      const failure = error && typeof error === "object" && "code" in error
        ? error as { code: number; message: string }
        : { code: 0, message: "the API could not be reached from this page" };
      session.report(channel, "server API", undefined, failure);
      setAnswer({ ok: false, text: failure.message });
    }
  };

  return (
    <Card
      title="Publish"
      testid="publish-card"
      side={
        <Choice testid="door" label="Publish as" value={door} options={[["client", "As client"], ["api", "Server API"]]} onChange={setDoor} />
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
          <textarea rows={3} class="mono" spellcheck={false} data-testid="publish-data" value={data}
            onInput={(event) => setData(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.form?.requestSubmit();
            }} />
        </label>
        {door === "api" && (
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
        )}
        <div class="row between">
          <span class={answer?.ok ? "good" : "bad"} role="status" data-testid="publish-answer">{answer?.text}</span>
          <button type="submit" class="primary" data-testid="publish"
            disabled={!channel.trim() || (door === "client" ? session.state !== "connected" : !apiKey)}>
            Publish
          </button>
        </div>
      </form>
    </Card>
  );
}
