"""Server-side subscriptions: by token, by API; the API against connections (§3, §16, §17.2)."""
from lib import add, case


def login(name, intent, claims, ref="§3,§16", live=True, **connect):
    """A login with these claims (a function of T); then one publication in each of its channels."""
    async def go(t):
        c = claims(t)
        await t.client(claims=c, **{k: v(t) if callable(v) else v for k, v in connect.items()})
        if live:
            for ch in list(c.get("subs") or c.get("channels") or []):
                if isinstance(ch, str):
                    await t.seed(ch, 1)
            await t.settle(0.2)
    add("serverside-" + name, intent, ref, go)


login("channels", "channels claim", lambda t: {"channels": [t.ch("open", "1-"), t.ch("deny", "2-")]})
login("channels-one-unknown", "one of an unknown namespace", lambda t: {"channels": [t.ch("open"), "nope:x"]}, live=False)
login("channels-twice", "the same channel twice", lambda t: {"channels": [t.ch("open"), t.ch("open")]}, live=False)
login("channels-empty", "no channel", lambda t: {"channels": []})
login("channels-string", "a string in place of a list", lambda t: {"channels": "open:x"}, live=False)
login("channels-number", "a number in the list", lambda t: {"channels": [5]}, live=False)
login("channels-null", "null in place of a list", lambda t: {"channels": None})
login("channels-no-namespace", "without a namespace", lambda t: {"channels": [t.ch("")]})
login("channels-private", "with the private prefix", lambda t: {"channels": ["$" + t.ch("open")]})
login("channels-user-limited", "a user-limited channel of another user", lambda t: {"channels": ["user:a#other-" + t.tag()]})
login("channels-nonascii", "a name not in ASCII", lambda t: {"channels": ["open:\u00e9" + t.tag()]}, live=False)
login("channels-long", "a name of 300 bytes", lambda t: {"channels": ["open:" + "x" * 295]}, live=False)
login("channels-limit", "thirteen where twelve may be", lambda t: {"channels": [t.ch("open", f"{i}-") for i in range(13)]}, ref="§10,§16", live=False)
login("channels-and-subs", "both claims", lambda t: {"channels": [t.ch("open", "1-")], "subs": {t.ch("open", "2-"): {}}})
login("subs", "subs claim with nothing in it", lambda t: {"subs": {t.ch("open"): {}}})
login("subs-null", "null options", lambda t: {"subs": {t.ch("open"): None}})
login("subs-data", "data for the client", lambda t: {"subs": {t.ch("open"): {"data": {"hello": 1}}}})
login("subs-b64data", "data in base64", lambda t: {"subs": {t.ch("open"): {"b64data": "eyJhIjoxfQ=="}}})
login("subs-b64data-bad", "data in bad base64", lambda t: {"subs": {t.ch("open"): {"b64data": "%"}}}, live=False)
login("subs-recov", "a channel with recovery", lambda t: {"subs": {t.ch("recov"): {}}})
login("subs-pos", "a channel with positioning", lambda t: {"subs": {t.ch("pos"): {}}})
login("subs-cache", "a cache channel", lambda t: {"subs": {t.ch("cache"): {}}})
login("subs-delta", "a delta channel", lambda t: {"subs": {t.ch("delta"): {}}})
for n, ns, o in [("force_recovery", "hist", {"force_recovery": {"value": True}}), ("force_recovery-off", "recov", {"force_recovery": {"value": False}}),
                 ("force_positioning", "hist", {"force_positioning": {"value": True}}), ("force_recovery-no-history", "open", {"force_recovery": {"value": True}})]:
    login("subs-override-" + n, f"override {n} in {ns}", lambda t, ns=ns, o=o: {"subs": {t.ch(ns): {"override": o}}})
login("subs-override-bad", "override of the wrong type", lambda t: {"subs": {t.ch("open"): {"override": {"presence": True}}}}, live=False)
login("subs-unknown-field", "an unknown option", lambda t: {"subs": {t.ch("open"): {"nope": 1}}}, live=False)


@case("serverside-override-presence", "presence of one subscription alone", "§3,§15,§16")
async def _(t):
    ch = t.ch("deny")
    await t.client(claims={"subs": {ch: {"override": {"presence": {"value": True}}, "info": {"i": 1}}}})
    await t.api("presence", channel=ch)


@case("serverside-override-presence-off", "no presence for one subscription", "§3,§15,§16")
async def _(t):
    ch = t.ch("pres")
    await t.client(claims={"subs": {ch: {"override": {"presence": {"value": False}}}}})
    await t.api("presence", channel=ch)


@case("serverside-info", "info of the subscription in presence", "§3,§15")
async def _(t):
    ch = t.ch("pres")
    await t.client(claims={"info": {"c": 1}, "subs": {ch: {"info": {"s": 2}}}})
    await t.api("presence", channel=ch)


@case("serverside-join-leave-override", "join and leave pushed by an override", "§3,§15,§16")
async def _(t):
    ch = t.ch("pres")
    await t.client(claims={"subs": {ch: {"override": {"force_push_join_leave": {"value": True}}}}})
    await t.settle(0.15)
    b = await t.client("other-" + t.tag())
    await b.sub(ch)
    await t.settle(0.15)
    await b.unsub(ch)
    await t.settle(0.2)


@case("serverside-subscribe-again", "a client-side subscribe to a server-side channel: 105", "§16")
async def _(t):
    ch = t.ch("open")
    a = await t.client(claims={"channels": [ch]})
    await a.sub(ch)


@case("serverside-unsubscribe-by-client", "the client ends a server-side subscription", "§16")
async def _(t):
    ch = t.ch("open")
    a = await t.client(claims={"channels": [ch]})
    await a.unsub(ch)
    await t.seed(ch, 1)
    await t.settle(0.2)
    await a.sub(ch)


@case("serverside-publish-by-client", "the client publishes as a subscriber of a server-side channel", "§9,§16")
async def _(t):
    ch = t.ch("pubsub")
    a = await t.client(claims={"channels": [ch]})
    await a.pub(ch, {"n": 1})
    await t.settle(0.2)


@case("serverside-sub-refresh", "sub_refresh of a server-side channel", "§5,§16")
async def _(t):
    ch = t.ch("open")
    a = await t.client(claims={"channels": [ch]})
    await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch))


def resume(name, intent, ns="recov", n=3, offset=1, epoch="own", recover=True, ref="§11,§16"):
    """n publications, then a login whose connect names a position of a server-side channel."""
    async def go(t):
        ch = t.ch(ns)
        r = await t.seed(ch, n) if n else {}
        sub = {"recover": recover, "offset": offset, "epoch": r.get("epoch", "") if epoch == "own" else epoch}
        await t.client(claims={"subs": {ch: {}}}, subs={ch: sub})
        await t.seed(ch, 1)
        await t.settle(0.2)
    add("serverside-recover-" + name, intent, ref, go)


resume("missed", "two missed come in the connect reply")
resume("none", "none missed", offset=3)
resume("from-0", "all missed", offset=0)
resume("wrong-epoch", "another epoch", epoch="zz")
resume("ahead", "ahead of the stream", offset=9)
resume("too-old", "trimmed away", ns="tiny", n=5, offset=1)
resume("over-limit", "more than recovery_max_publication_limit", n=7, offset=1, ref="§10,§11")
resume("not-asked", "recover false", recover=False)
resume("not-offered", "a channel without recovery", ns="hist")
resume("plain", "a channel without history", ns="open", n=0, epoch="zz")
resume("cache", "a cache channel", ns="cache", offset=0, epoch="")
resume("empty", "nothing published", n=0, offset=0, epoch="")


@case("serverside-recover-other-channel", "connect names a channel that the token does not", "§11,§16")
async def _(t):
    ch = t.ch("recov")
    await t.seed(ch, 2)
    await t.client(subs={ch: {"recover": True, "offset": 0, "epoch": ""}})
    await t.seed(ch, 1)
    await t.settle(0.2)


# --- the API against connections ------------------------------------------------------------------

def act(name, intent, method, body, ref="§16,§17.2", ns="open", conns=1, before=None, after=None, claims=None):
    """Connections of one user; one API call; then a publication in the channel."""
    async def go(t):
        ch = t.ch(ns)
        cs = [await t.client(claims=claims) for _ in range(conns)]
        if before:
            await before(t, cs, ch)
        await t.api(method, {"user": t.user, **(body(t, cs, ch) if callable(body) else body)})
        await t.settle(0.2)
        await t.seed(ch, 1)
        await t.settle(0.2)
        if after:
            await after(t, cs, ch)
    add(f"serverside-api-{method}-{name}", intent, ref, go)


async def sub_all(t, cs, ch):
    for c in cs:
        await c.sub(ch)


async def sub_first(t, cs, ch):
    await cs[0].sub(ch)


async def fill(t, cs, ch):
    await t.seed(ch, 3)


C = lambda **kw: lambda t, cs, ch: {"channel": ch, **kw}
act("one", "the push, then a publication", "subscribe", C())
act("two", "both connections", "subscribe", C(), conns=2)
act("client", "one of two connections", "subscribe", lambda t, cs, ch: {"channel": ch, "client": cs[0].client}, conns=2)
act("client-unknown", "a connection that is not there", "subscribe", C(client="nope"))
act("closed-ns", "a namespace that lets no client in", "subscribe", C(), ns="deny")
act("data", "data for the client", "subscribe", C(data={"a": 1}))
act("b64data", "data in base64", "subscribe", C(b64data="eyJhIjoxfQ=="))
act("b64data-bad", "data in bad base64", "subscribe", C(b64data="%"))
act("recov", "a channel with recovery", "subscribe", C(), ns="recov", before=fill)
act("pos", "a channel with positioning", "subscribe", C(), ns="pos", before=fill)
act("override", "override of positioning", "subscribe", C(override={"force_positioning": {"value": True}}), ns="hist", before=fill)
act("recover-since", "recover_since", "subscribe", C(recover_since={"offset": 1, "epoch": "x"}), ns="recov", before=fill)
act("again", "of a subscription that is there", "subscribe", C(), before=sub_all)
act("twice", "the same call twice", "subscribe", C(), before=lambda t, cs, ch: t.api("subscribe", user=t.user, channel=ch))
act("expire", "expire_at ahead", "subscribe", lambda t, cs, ch: {"channel": ch, "expire_at": 4102444800})
act("expired", "expire_at in the past", "subscribe", C(expire_at=1000000000))
act("other", "another user is not touched", "subscribe", lambda t, cs, ch: {"channel": ch, "user": "other-" + t.tag()})
act("session-unknown", "a session that is not there", "subscribe", C(session="nope"))
act("long", "a name of 300 bytes", "subscribe", lambda t, cs, ch: {"channel": "open:" + "x" * 295})
act("nonascii", "a name not in ASCII", "subscribe", lambda t, cs, ch: {"channel": "open:\u00e9" + t.tag()})

act("one", "unsubscribe push 2000", "unsubscribe", C(), before=sub_first)
act("two", "both connections", "unsubscribe", C(), conns=2, before=sub_all)
act("client", "one of two connections", "unsubscribe", lambda t, cs, ch: {"channel": ch, "client": cs[0].client}, conns=2, before=sub_all)
act("not-subscribed", "nothing to end", "unsubscribe", C())
act("all", "empty channel: all of the user's", "unsubscribe", {"channel": ""}, before=sub_first)
act("server-side", "of a server-side subscription", "unsubscribe", C(), before=lambda t, cs, ch: t.api("subscribe", user=t.user, channel=ch))


async def sub_again(t, cs, ch):
    await cs[0].sub(ch)


act("and-again", "subscribe after that", "unsubscribe", C(), before=sub_first, after=sub_again)


async def wait_closed(t, cs, ch):
    for c in cs:
        await c.closed(0.5)


D = dict(ref="§17.2,§28.1", after=wait_closed)
act("plain", "3503", "disconnect", {}, **D)
act("two", "both connections", "disconnect", {}, conns=2, **D)
act("client", "one of two", "disconnect", lambda t, cs, ch: {"client": cs[1].client}, conns=2, **D)
act("whitelist", "all but those listed", "disconnect", lambda t, cs, ch: {"whitelist": [cs[0].client]}, conns=3, **D)
act("whitelist-all", "all are listed", "disconnect", lambda t, cs, ch: {"whitelist": [c.client for c in cs]}, conns=2, **D)
act("whitelist-unknown", "a listed one that is not there", "disconnect", {"whitelist": ["nope"]}, conns=2, **D)
act("whitelist-client", "client and whitelist name the same", "disconnect", lambda t, cs, ch: {"client": cs[0].client, "whitelist": [cs[0].client]}, conns=2, **D)
act("code", "a code of one's own", "disconnect", {"disconnect": {"code": 4500, "reason": "go"}}, **D)
act("code-reconnect", "a code that lets the client come back", "disconnect", {"disconnect": {"code": 3000, "reason": "later"}}, **D)
act("code-out-of-range", "a code outside of the range", "disconnect", {"disconnect": {"code": 42, "reason": "x"}}, **D)
act("code-no-reason", "a code without a reason", "disconnect", {"disconnect": {"code": 4501}}, **D)
act("reason-long", "a reason of 200 bytes", "disconnect", {"disconnect": {"code": 4502, "reason": "r" * 200}}, **D)
act("session-unknown", "a session that is not there", "disconnect", {"session": "nope"}, **D)
act("other", "another user is not touched", "disconnect", lambda t, cs, ch: {"user": "other-" + t.tag()}, **D)

R = dict(ref="§17.2", after=wait_closed)
act("expired", "expired: 3005", "refresh", {"expired": True}, **R)
act("ahead", "an end ahead", "refresh", {"expire_at": 4102444800}, **R)
act("past", "an end in the past", "refresh", {"expire_at": 1000000000}, **R)
act("nothing", "nothing asked", "refresh", {}, **R)
act("client", "one of two", "refresh", lambda t, cs, ch: {"client": cs[0].client, "expired": True}, conns=2, **R)
act("info", "another info", "refresh", {"info": {"n": 2}, "expire_at": 4102444800}, **R)


@case("serverside-api-subscribe-publish", "publications of the API, with an offset, in a server-side channel", "§16")
async def _(t):
    ch = t.ch("recov")
    await t.client()
    await t.api("subscribe", user=t.user, channel=ch)
    await t.settle(0.15)
    await t.seed(ch, 2)
    await t.settle(0.2)


@case("serverside-api-anonymous", "the API against anonymous connections", "§16,§17.2", solo=True)
async def _(t):
    await t.client("")
    await t.api("subscribe", user="", channel=t.ch("open"))
    await t.settle(0.2)


@case("serverside-refresh-keeps", "a refresh with the same subs changes nothing", "§3,§16")
async def _(t):
    ch = t.ch("open")
    a = await t.client(claims={"subs": {ch: {}}})
    await a.cmd("refresh", token=t.tok(subs={ch: {}}))
    await t.seed(ch, 1)
    await t.settle(0.2)
