import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { apiUrl, curlLine, devInfo, type DevInfo, htmlSnippet, socketUrl } from "./dev";
import { Channels } from "./panels/channels";
import { Connection, type ConnectionForm } from "./panels/connection";
import { LogPanel } from "./panels/log";
import { Publish } from "./panels/publish";
import { Steps } from "./panels/steps";
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
  // For what happens between two drawings.
  const [latest, ready] = [useRef(form), useRef<string | undefined>(undefined)];
  latest.current = form;
  const change = (part: Partial<ConnectionForm>) => setForm((old) => ({ ...old, ...part }));

  /** What the server says now; a ready-made token that it has replaced is replaced here too. */
  const refresh = async (): Promise<DevInfo | null> => {
    const fresh = await devInfo();
    if (!fresh) return null;
    if (fresh.token && latest.current.token === ready.current) change({ token: fresh.token });
    ready.current = fresh.token;
    setInfo(fresh);
    return fresh;
  };
  const renewed = async () => (await refresh())?.token ?? null;
  const connect = (by: ConnectionForm) => {
    const own = ready.current !== undefined && by.token === ready.current;
    session.connect({ ...by, renew: own && by.renew ? renewed : undefined, replace: own ? renewed : undefined });
  };

  useEffect(() => {
    devInfo().then((found) => {
      setInfo(found);
      if (!found) return;
      ready.current = found.token;
      setChannel((old) => old || found.channel || "");
      // What the visitor has typed meanwhile wins.
      const old = latest.current;
      const untouched = old.url === socketUrl() && old.token === "";
      const url = old.url === socketUrl() ? socketUrl(found.websocket) : old.url;
      const next = { ...old, url, token: old.token || found.token || "" };
      setForm(next);
      if (untouched && found.token && session.state === "disconnected") connect(next);
    });
  }, []);

  const named = channel.trim() || info?.channel || "chat";
  const api = safely(() => apiUrl(form.url, "publish", info?.api));
  // The server's own lines are those of its terminal.
  const usual = named === info?.channel && form.url === socketUrl(info.websocket);
  const curl = usual && info.curl ? info.curl : curlLine(api, info?.api_key ?? "YOUR_API_KEY", named);
  const html = usual && info.snippet ? info.snippet : htmlSnippet(form.url, form.token || "YOUR_TOKEN", named);

  return (
    <>
      <TopBar session={session} info={info} />
      <main>
        <Steps session={session} named={named} ready={info?.token !== undefined} />
        <div class="side">
          <Connection session={session} form={form} change={change} readyToken={info?.token}
            ask={info?.console_key !== undefined} connect={() => connect(form)} />
          <Channels session={session} name={channel} setName={setChannel} />
          <Publish session={session} url={api} channel={named} readyKey={info?.api_key} refresh={refresh} />
        </div>
        <div class="stage">
          <LogPanel log={session.log} />
          <TakeHome curl={curl} html={html} token={info?.token ?? form.token} methods={info?.swagger} />
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
      <button type="button" class="quiet" data-testid="theme" aria-label={`Colour scheme: ${theme}`} title="Colour scheme" onClick={change}>
        {theme}
      </button>
    </header>
  );
}

function safely(make: () => string): string {
  try {
    return make();
  } catch {
    return "http://localhost:8000/api/publish";
  }
}
