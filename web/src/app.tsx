import { useEffect, useMemo, useState } from "preact/hooks";
import { curlLine, devInfo, type DevInfo, htmlSnippet, socketUrl } from "./dev";
import { Channels } from "./panels/channels";
import { Connection, type ConnectionForm } from "./panels/connection";
import { LogPanel } from "./panels/log";
import { Publish } from "./panels/publish";
import { TakeHome } from "./panels/take-home";
import { Session } from "./session";
import { useSeconds, useStore } from "./store";
import { nextTheme, showTheme, storedTheme, type Theme } from "./theme";
import { duration } from "./token";

export function App() {
  const session = useMemo(() => new Session(), []);
  const [info, setInfo] = useState<DevInfo | null | undefined>(undefined);
  const [channel, setChannel] = useState("");
  const [form, setForm] = useState<ConnectionForm>({ url: socketUrl(), token: "", protocol: "json", renew: true });
  const change = (part: Partial<ConnectionForm>) => setForm((old) => ({ ...old, ...part }));

  useEffect(() => {
    devInfo().then((found) => {
      setInfo(found);
      if (!found) return;
      // What the visitor has typed meanwhile wins.
      setForm((old) => ({
        ...old,
        url: old.url === socketUrl() ? socketUrl(found.websocket) : old.url,
        token: old.token || found.token || "",
      }));
      setChannel((old) => old || found.channel || "");
    });
  }, []);

  const ready = info?.token;
  const canRenew = ready !== undefined && form.token === ready;
  const renew = async () => {
    const fresh = await devInfo();
    if (!fresh?.token) return null;
    setInfo(fresh);
    change({ token: fresh.token });
    return fresh.token;
  };
  const connect = () =>
    session.connect({ url: form.url, token: form.token, protocol: form.protocol, renew: canRenew && form.renew ? renew : undefined });

  const named = channel.trim() || info?.channel || "chat";
  const curl = info?.curl ?? safely(() => curlLine(form.url, info?.api_key ?? "YOUR_API_KEY", named));
  const html = info?.snippet ?? htmlSnippet(form.url, form.token || "YOUR_TOKEN", named);

  return (
    <>
      <TopBar session={session} info={info} />
      <main>
        <div class="side">
          <Connection session={session} form={form} change={change} readyToken={ready} canRenew={canRenew} ask={info != null} connect={connect} />
          <Channels session={session} name={channel} setName={setChannel} />
          <Publish session={session} socket={form.url} channel={named} readyKey={info?.api_key} />
        </div>
        <div class="stage">
          <LogPanel log={session.log} empty={<Welcome named={named} ready={ready !== undefined} />} />
          <TakeHome curl={curl} html={html} token={ready ?? form.token} />
        </div>
      </main>
    </>
  );
}

function TopBar(props: { session: Session; info: DevInfo | null | undefined }) {
  const session = useStore(props.session);
  const now = useSeconds(session.state === "connected");
  const [theme, setTheme] = useState<Theme>(storedTheme);
  const change = () => {
    const next = nextTheme(theme);
    showTheme(next);
    setTheme(next);
  };
  return (
    <header class="top">
      <img src="./icon.svg" alt="" width="28" height="28" />
      <h1>Spinward</h1>
      <span class="dim version" data-testid="version">{props.info?.version ? `v${props.info.version.replace(/^v/, "")}` : "console"}</span>
      <span class="grow" />
      <span class={`state ${session.state}`} data-testid="state" data-state={session.state} role="status">
        <i class={`dot ${session.state}`} />
        {session.state}
      </span>
      {session.state === "connected" && (
        <span class="dim facts">
          <span>{session.protocol === "json" ? "JSON" : "Protobuf"}</span>
          <span>{duration(now - session.connectedAt / 1000)}</span>
          <code data-testid="client-id" title="client id">{session.clientId}</code>
        </span>
      )}
      <button type="button" class="quiet" data-testid="theme" title="Colour scheme" onClick={change}>{theme}</button>
    </header>
  );
}

function Welcome({ named, ready }: { named: string; ready: boolean }) {
  return (
    <div class="welcome" data-testid="welcome">
      <p class="lead">Three steps to a live message</p>
      <ol>
        <li>
          <b>Connect.</b> {ready ? "A token for this run is filled in already." : "Paste a token that your backend signed, and check the address."}
        </li>
        <li>
          <b>Subscribe</b> to <code>{named}</code>, or to any channel that your configuration allows.
        </li>
        <li>
          <b>Publish</b> here, or with the line below from a terminal, and watch it arrive.
        </li>
      </ol>
      <p class="dim">Made with the official JavaScript SDK: what works here works in your page.</p>
    </div>
  );
}

function safely(make: () => string): string {
  try {
    return make();
  } catch {
    return "Enter the server's address first.";
  }
}
