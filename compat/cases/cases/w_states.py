"""What depends on what came before: refreshes by what the client is subscribed to, channels named in the connect command,
a subscription made twice, one's own join among further commands; and parameters of methods that no channel has (§3, §15, §16, §17)."""
from lib import add, case, now

from cases.j_api import api, legacy

REFRESH = "§3"


def refresh(name, intent, at_connect, then, claims):
    """Logs in with some claims, does something, and refreshes with others."""
    async def go(t):
        x, y = t.ch("open", "x"), t.ch("open", "y")
        named = {"x": x, "y": y, "unknown": "nope:x"}
        channels = lambda names: {"channels": [named[n] for n in names]} if names else {}
        a = await t.client(claims=channels(at_connect))
        if then:
            await then(t, a, x)
        await a.cmd("refresh", token=t.tok(**channels(claims)))
        await a.closed(0.3)
    add("refresh-states-" + name, intent, REFRESH, go)


async def subscribed(t, a, x):
    await a.sub(x)


async def left(t, a, x):
    await a.unsub(x)


async def left_and_back(t, a, x):
    await a.unsub(x)
    await a.sub(x)


async def by_api(t, a, x):
    await t.api("subscribe", user=t.user, channel=x)
    await t.settle(0.1)


async def ended_by_api(t, a, x):
    await t.api("unsubscribe", user=t.user, channel=x)
    await t.settle(0.1)


async def refreshed_and_left(t, a, x):
    await a.sub(x)
    await a.cmd("refresh", token=t.tok(channels=[x]))
    await a.unsub(x)


for n, intent, before, then, after in [
        ("own", "the new token names what the client subscribed to itself", "", subscribed, "x"), ("own-more", "the same beside a channel of the first token", "y", subscribed, "xy"),
        ("own-instead", "the same in place of a channel of the first token", "y", subscribed, "x"), ("left", "names a channel that the client left", "x", left, "x"),
        ("left-gone", "names no more what the client left", "x", left, ""), ("left-and-back", "what the client left and subscribed to itself is named no more", "x", left_and_back, ""),
        ("by-api", "names what the API subscribed to", "", by_api, "x"), ("by-api-not", "does not name what the API subscribed to", "", by_api, ""), ("by-api-other", "nor beside another", "y", by_api, "y"),
        ("ended-by-api", "names what the API ended", "x", ended_by_api, "x"), ("ended-by-api-gone", "names no more what the API ended", "x", ended_by_api, ""), ("twice", "named, left, named again", "", refreshed_and_left, "x")]:
    refresh(n, intent, before, then, after)
refresh("unknown", "names a namespace that is not there: 102", "", None, ["unknown"])
refresh("unknown-more", "the same beside a new one", "", None, ["unknown", "x"])


# Channels that a client names as it connects.
def named(name, intent, subs, tokenless=False):
    async def go(t):
        a = await t.client("" if tokenless else None, subs=subs(t))
        await a.closed(0.2)
    add("connect-names-" + name, intent, "§1.2,§16", go)


named("empty", "an empty name makes nothing", lambda t: {"": {}})
named("empty-anon", "nor for the anonymous", lambda t: {"": {}}, True)
named("empty-delta", "whatever is asked with it", lambda t: {"": {"delta": "x"}})
named("empty-beside", "and takes nothing from others", lambda t: {"": {}, t.ch("open"): {}})
for ns in ("delta", "deltao", "deltanp", "deltatag", "open"):
    named(f"{ns}-delta", f"deltas asked in {ns}", lambda t, ns=ns: {t.ch(ns): {"delta": "fossil"}})
    named(f"{ns}-delta-anon", f"deltas asked in {ns} without a token", lambda t, ns=ns: {t.ch(ns): {"delta": "fossil"}}, True)


@case("connect-names-delta-pushed", "deltas agreed on in a named channel", "§11,§16")
async def _(t):
    ch = t.ch("delta")
    await t.client(subs={ch: {"delta": "fossil"}})
    for i in range(3):
        await t.api("publish", channel=ch, data={"n": i, "text": "the same long text all the time " * 4})
    await t.settle()


# A shared poll is told from everything else first.
for n, b in [("delta", {"delta": "x"}), ("token", {"token": "x"}), ("recover", {"recover": True}), ("long", {"channel": "open:" + "x" * 300}), ("unknown", {"channel": "nope:x"})]:
    @case("sub-polled-" + n, f"type 4 and {n}", "§2,§13")
    async def _(t, b=b):
        a = await t.client()
        await a.cmd("subscribe", **{"channel": t.ch("open"), "type": 4, **b})
        await a.closed(0.2)


@case("sub-polled-twice", "type 4 where the client is subscribed", "§2,§13")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub(ch)
    await a.sub(ch, type=4)
    await a.sub(ch)


# Where both the name and the token are at fault, the name is told of.
NAMES = {"regex": "regex:AB", "nonascii": "open:\u00e9", "unknown": "nope:x", "long": "open:" + "x" * 300, "private-unknown": "$nope:x", "closed": "deny:x", "listed": "user:a#b", "private": "$open:x"}
for n, ch in NAMES.items():
    for f, c in [("user", {"sub": "other"}), ("signature", {"key": "no"}), ("exp", {"exp": now(-5)}), ("channel", {"channel": "open:other"}), ("client", {"client": "other"}), ("expire_at", {"expire_at": now(-5)}), ("nbf", {"nbf": now(500)}), ("good", {})]:
        @case(f"subtok-order-{n}-{f}", f"a name ({n}) and a token ({f})", "§5,§9")
        async def _(t, ch=ch, c=c):
            a = await t.client()
            await a.sub(ch, token=t.subtok(**{"ch": ch, **c}) if "channel" not in c else t.subtok(c["channel"]))
            await a.closed(0.3)


# The type of a sub_refresh counts for shared polls alone.
for typ in (-1, 1, 2, 3, 99):
    for n in ("exp", "endless", "unknown", "none"):
        @case(f"subrefresh-type-{typ}-{n}", f"type {typ} and a token ({n})", "§2,§5")
        async def _(t, typ=typ, n=n):
            a, ch = await t.client(), t.ch("open")
            if n != "unknown":
                await a.sub(ch, token=t.subtok(ch, exp=now(1000)))
            token = {} if n == "none" else {"token": t.subtok(ch, **({"exp": now(2000)} if n == "exp" else {}))}
            await a.cmd("sub_refresh", channel=ch, type=typ, **token)
            await a.closed(0.2)


# A type that does not exist is found last.
for typ in (5, 99, -1):
    for n, ch, c in [("closed", "deny:x", {}), ("filter", "open:x", {"tf": {"key": "a", "cmp": "eq", "val": "x"}}), ("private", "$open:x", {}), ("unknown", "nope:x", {}), ("regex", "regex:AB", {}), ("bad-token", "open:x", {"token": "x"}), ("open", "open:x", {})]:
        @case(f"sub-type-last-{typ}-{n}", f"type {typ}: {n}", "§2,§9")
        async def _(t, typ=typ, ch=ch, c=c):
            a = await t.client()
            await a.sub(ch, type=typ, **c)
            await a.closed(0.3)

    @case(f"sub-type-last-{typ}-expired", f"type {typ} and an expired token", "§2,§9")
    async def _(t, typ=typ):
        a = await t.client()
        await a.sub("open:x", type=typ, token=t.subtok("open:x", exp=now(-5)))
        await a.closed(0.3)


# Info of a refreshed token.
for n, c in [("endless", {}), ("exp", {"exp": now(3000)}), ("expire_at-0", {"exp": now(3000), "expire_at": 0}), ("expire_at", {"expire_at": now(3000)})]:
    for f, at in [("none", {}), ("other", {"info": {"old": 1}}), ("exp", {"exp": now(1000), "info": 5})]:
        @case(f"refresh-states-info-{n}-{f}", f"another info ({n}) where there was: {f}; what a later subscription tells", "§3,§15")
        async def _(t, c=c, at=at):
            a, ch = await t.client(claims=at), t.ch("jlforce")
            await a.cmd("refresh", token=t.tok(info={"new": 1}, **c))
            await a.sub(ch)
            await t.settle(0.15)
            await t.api("presence", channel=ch)


# Info of a refreshed subscription token, seen with what the client publishes.
for n, c in [("endless", {}), ("exp", {"exp": now(3000)})]:
    for f, at in [("none", {}), ("other", {"info": {"old": 1}})]:
        for i, info in [("none", {}), ("number", {"info": 2147483648}), ("object", {"info": {"new": 1}}), ("b64", {"b64info": "eyJhIjoxfQ=="})]:
            @case(f"subrefresh-states-info-{f}-{i}-{n}", f"info ({i}) in a subscription's new token ({n}) where there was: {f}", "§5,§15")
            async def _(t, c=c, at=at, info=info):
                a, ch = await t.client(), t.ch("pub")
                await a.sub(ch, token=t.subtok(ch, **at))
                await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch, **info, **c))
                await a.pub(ch, {"n": 1})


# One's own join comes before what the next command of the frame brings.
def together(name, intent, *cmds, ns="jlforce", at_connect=False):
    async def go(t):
        ch = t.ch(ns)
        fill = lambda c: {k: {**v, "channel": ch} if isinstance(v, dict) and k not in ("rpc", "foo") else v for k, v in c.items()}
        if at_connect:
            a = await t.ws()
            await a.send({"id": 1, "connect": {"token": t.tok(channels=[ch])}}, *map(fill, cmds))
        else:
            a = await t.client()
            await a.send(*map(fill, cmds))
        await t.settle(0.3)
    add("presence-together-" + name, intent, "§15", go)


SUB, JOIN = {"id": 2, "subscribe": {}}, {"id": 2, "subscribe": {"join_leave": True}}
together("history", "then history", SUB, {"id": 3, "history": {"limit": 1}})
together("rpc", "then rpc", SUB, {"id": 3, "rpc": {"method": "ping"}})
together("stats", "then presence_stats", JOIN, {"id": 3, "presence_stats": {}}, ns="pres")
together("unsubscribe", "then unsubscribe", SUB, {"id": 3, "unsubscribe": {}})
together("again", "then left, and subscribed again", SUB, {"id": 3, "unsubscribe": {}}, {"id": 4, "subscribe": {}})
together("end", "then a command that ends the connection", SUB, {"id": 3})
together("connect", "by the connect command, then history", {"id": 2, "history": {"limit": 1}}, at_connect=True)
together("connect-again", "by the connect command, then subscribe", {"id": 2, "subscribe": {}}, at_connect=True)


@case("serverside-api-again-gone", "a subscription made twice, and the connection gone: the channel is empty", "§16,§17.2", pb=False)
async def _(t):
    ch = t.ch("open")
    a = await t.client()
    await a.sub(ch)
    for _ in range(2):
        await t.api("subscribe", user=t.user, channel=ch)
        await t.settle(0.1)
    await t.api("channels", pattern=ch)
    await t.api("unsubscribe", user=t.user, channel=ch)
    await t.settle(0.1)
    await t.api("channels", pattern=ch)


for ns in ("hist", "open", "recov", "pos", "arec", "cache"):
    @case(f"serverside-api-again-pub-{ns}", f"a subscription in {ns} made again after a publication: where it stands", "§16,§17.2")
    async def _(t, ns=ns):
        ch = t.ch(ns)
        await t.client(claims={"channels": [ch]})
        await t.api("publish", channel=ch, data=1)
        await t.settle(0.1)
        await t.api("subscribe", user=t.user, channel=ch)
        await t.settle(0.1)
        await t.api("publish", channel=ch, data=2)
        await t.settle(0.15)

# History after the last offset that there is.
for off in (2**64 - 1, 2**64 - 2, 2**63):
    for rev in (False, True):
        @case(f"history-after-{off}{'-reverse' if rev else ''}", f"since {off}{', reverse' if rev else ''}", "§11,§17.2")
        async def _(t, off=off, rev=rev):
            a, ch = await t.client(), t.ch("hist")
            await t.seed(ch, 3)
            await a.hist(ch, limit=2, since={"offset": off, "epoch": ""}, reverse=rev)
            await t.api("history", channel=ch, limit=-1, since={"offset": off, "epoch": ""}, reverse=rev)

# Parameters.
for m in ("map_publish", "map_remove", "map_read_state", "map_read_stream", "map_stats", "map_clear", "shared_poll_publish"):
    for n, b in [("unknown", {"channel": "nope:x"}), ("unknown-key", {"channel": "nope:x", "key": "k"}), ("unknown-version", {"channel": "nope:x", "key": "k", "version": 1}), ("key-number", {"channel": "open:x", "key": 5}), ("limit-string", {"channel": "open:x", "key": "k", "limit": "1"}),
                 ("version-negative", {"channel": "open:x", "key": "k", "version": -1}), ("cursor-array", {"channel": "open:x", "cursor": [1]}), ("score-string", {"channel": "open:x", "key": "k", "score": "1"}), ("offset-string", {"channel": "open:x", "since_offset": "1", "revision_offset": "1"}), ("tags-string", {"channel": "open:x", "key": "k", "tags": "x"}),
                 ("epoch-number", {"channel": "open:x", "key": "k", "epoch": 1, "since_epoch": 1, "version_epoch": 1}), ("stream-b64", {"channel": "open:x", "key": "k", "b64stream_data": 5}), ("skip-history", {"channel": "open:x", "key": "k", "skip_history": "x"}), ("key-mode", {"channel": "nope:x", "key": "k", "key_mode": "zz"})]:
        api(f"=kinds-{m}-{n}", f"{m}: {n}", m, b)
api("=kinds-batch", "a batch with a malformed command of another kind: all is refused", "batch", lambda t: {"commands": [{"publish": {"channel": t.ch("hist"), "data": 1}}, {"map_read_state": {"channel": t.ch("hist"), "cursor": [1]}}]})
api("=kinds-batch-order", "in a batch", "batch", {"commands": [{"shared_poll_publish": {"channel": "nope:x"}}, {"map_remove": {"channel": "nope:x"}}, {"map_stats": {"channel": "nope:x"}}]})
for n, b in [("bad", {"b64data": "!"}), ("unpadded", {"b64data": "eyJhIjoxfQ"}), ("unknown", {"b64data": "!", "channels": ["nope:x"]}), ("beside-data", {"b64data": "!", "data": 1}), ("no-channels", {"b64data": "!", "channels": []})]:
    api(f"b64data-{n}", f"broken base64 in a broadcast: {n}", "broadcast", lambda t, b=b: {"channels": [t.ch("open", "x"), t.ch("open", "y")], **b})
api("=batch-broadcast-b64data-bad", "the same in a batch", "batch", lambda t: {"commands": [{"broadcast": {"channels": [t.ch("open")], "b64data": "!"}}, {"publish": {"channel": t.ch("open"), "data": 1}}]})
for n, b in [("name", '{"chan\\ud800nel":"open:zz"}'), ("name-beside", '{"\\ud800":1,"channel":"pres:zz"}'), ("name-escapes", '{"\\u0063hannel":"pres:zz","\\n\\"":1}')]:
    api("=json-surrogate-" + n, f"half a surrogate pair in a name: {n}", "presence_stats", b, ref="§17.1")
H = lambda t: t.api("history", channel=t.ch("hist"), limit=-1)
api("=json-surrogate-tag", "half a surrogate pair in a tag", "publish", lambda t: '{"channel":"%s","data":1,"tags":{"a":"\\ud800","\\udfff":"b","c":null}}' % t.ch("hist"), ref="§17.1", then=H)
api("=json-tag-number", "a tag that is a number", "publish", lambda t: '{"channel":"%s","data":1,"tags":{"a":null,"b":5}}' % t.ch("hist"), ref="§17.1", then=H)

# The old single endpoint: parameters that are missing, or none.
for m in ("publish", "broadcast", "subscribe", "unsubscribe", "disconnect", "presence", "presence_stats", "history", "history_remove", "channels", "rpc", "refresh", "map_stats"):
    legacy(f"params-none-{m}", f"{m} without params", {"method": m})
    if m != "channels":
        legacy(f"params-null-{m}", f"{m} with params null", {"method": m, "params": None})
    legacy(f"params-string-{m}", f"{m} with params that are a text", {"method": m, "params": ""})
for n, b in [("again-null", '{"channel":"pres:zz","Channel":null}'), ("null-again", '{"Channel":null,"channel":"pres:zz"}'), ("again-empty", '{"channel":"pres:zz","Channel":""}')]:
    api("=json-null-" + n, f"a field that is there twice: {n}", "presence_stats", b, ref="§17.1")
for n, b in [("history", '{"channel":"hist:zz-none","limit":5,"Limit":null}'), ("since", '{"channel":"hist:zz-none","since":{"offset":9,"Offset":null,"epoch":"x"}}')]:
    api("=json-null-" + n, f"a number or object that is there twice: {n}", "history", b, ref="§17.1")
for n, p in [("close", "zz}"), ("close-open", "*{zz,z}}{z1"), ("only", "}")]:
    api("=channels-brace-" + n, f"a brace that nothing opened: {p}", "channels", {"pattern": p})
