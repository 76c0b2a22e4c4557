"""The server API in combination: calls repeated, in other orders, against several connections, in batches, with odd
JSON; and what connections see of it (§16, §17, §28)."""
import json

from lib import add, case, now

from cases.j_api import api, legacy
from cases.m_serverside import act, fill, sub_all, sub_first, wait_closed

C = lambda **kw: lambda t, cs, ch: {"channel": ch, **kw}


# A subscription that is there, made again.
async def by_server(t, cs, ch):
    await t.api("subscribe", user=t.user, channel=ch)
    await t.settle(0.1)


async def with_token(t, cs, ch):
    await cs[0].sub(ch, token=t.subtok(ch, info={"s": 1}))


for ns in ("recov", "pos", "pres", "jlforce", "hist", "cache", "delta"):
    act(f"again-{ns}", f"a client's own subscription in {ns}, made again", "subscribe", C(), ns=ns, before=sub_all)
    act(f"twice-{ns}", f"the same call twice in {ns}", "subscribe", C(), ns=ns, before=by_server)
act("again-data", "made again with data", "subscribe", C(data={"a": 1}), before=sub_all)
act("again-info", "made again with info: what presence tells", "subscribe", C(info={"i": 2}), ns="pres", before=with_token, after=lambda t, cs, ch: t.api("presence", channel=ch))
act("again-two", "one of two connections has it", "subscribe", C(), conns=2, before=sub_first)
act("again-override", "made again with positioning", "subscribe", C(override={"force_positioning": {"value": True}}), ns="hist", before=by_server)
act("again-expire", "made again with an end", "subscribe", C(expire_at=4102444800), before=sub_all)
act("again-recover", "made again with recover_since", "subscribe", C(recover_since={"offset": 0, "epoch": ""}), ns="recov", before=sub_all)
act("recover-top", "recover_since at the top", "subscribe", C(recover_since={"offset": 3, "epoch": ""}), ns="recov", before=fill)
act("recover-hist", "recover_since where there is no recovery", "subscribe", C(recover_since={"offset": 1, "epoch": "x"}), ns="hist", before=fill)
act("recover-null", "recover_since null", "subscribe", C(recover_since=None), ns="recov", before=fill)
act("cache-filled", "a cache channel that has something", "subscribe", C(), ns="cache", before=fill)
act("auto-filled", "a channel that recovers its cache by itself", "subscribe", C(), ns="auto", before=fill)
act("delta-filled", "a delta channel", "subscribe", C(), ns="delta", before=fill)
act("pres", "a channel with presence: who is there", "subscribe", C(), ns="pres", after=lambda t, cs, ch: t.api("presence", channel=ch))
act("info", "info: what presence tells", "subscribe", C(info={"i": 1}), ns="pres", after=lambda t, cs, ch: t.api("presence", channel=ch))
act("b64info", "info in base64", "subscribe", C(b64info="eyJpIjoxfQ=="), ns="pres", after=lambda t, cs, ch: t.api("presence", channel=ch))
act("b64info-bad", "info in bad base64", "subscribe", C(b64info="%"))
act("data-null", "data null", "subscribe", C(data=None))
act("data-string", "data a string", "subscribe", C(data="x"))
act("expired-two", "an end in the past, two connections", "subscribe", C(expire_at=5), conns=2)
act("expired-client", "an end in the past, a connection that is not there", "subscribe", C(expire_at=5, client="nope"))
act("expired-negative", "an end before 1970", "subscribe", C(expire_at=-5))
act("private", "a private channel", "subscribe", lambda t, cs, ch: {"channel": "$" + ch})
act("unknown-ns-connected", "an unknown namespace", "subscribe", {"channel": "nope:x"})
act("regex-bad", "a name that the regex does not fit", "subscribe", {"channel": "regex:ABC"})
act("userlimited", "another user's channel", "subscribe", lambda t, cs, ch: {"channel": "user:a#zz-" + t.tag()})
act("case-fields", "fields in other cases", "subscribe", lambda t, cs, ch: {"Channel": ch, "DATA": {"a": 1}})
act("case-override", "an override in other cases", "subscribe", C(override={"Force_Positioning": {"Value": True}}), ns="hist", before=fill)
act("case-recover", "recover_since in other cases", "subscribe", C(recover_since={"Offset": 1, "Epoch": "x"}), ns="recov", before=fill)
act("expired-nobody", "an end in the past, nobody there", "subscribe", lambda t, cs, ch: {"user": "nobody-here", "channel": ch, "expire_at": 5})


@case("serverside-api-subscribe-limit", "thirteen by the API where twelve may be", "§10,§16")
async def _(t):
    a = await t.client()
    for i in range(13):
        await t.api("subscribe", user=t.user, channel=t.ch("open", f"{i}-"))
    await a.closed(0.5)


@case("serverside-api-subscribe-limit-again", "made again where there is no room for another", "§10,§16")
async def _(t):
    a = await t.client()
    for i in range(12):
        await a.sub(t.ch("open", f"{i}-"))
    await t.api("subscribe", user=t.user, channel=t.ch("open", "3-"))
    await a.closed(0.5)


@case("serverside-api-subscribe-then-client-unsub", "by the API, ended by the client, by the API again", "§16")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await t.api("subscribe", user=t.user, channel=ch)
    await t.settle(0.1)
    await a.unsub(ch)
    await t.api("subscribe", user=t.user, channel=ch)
    await t.settle(0.1)
    await t.seed(ch, 1)
    await t.settle(0.15)


@case("serverside-api-subscribe-again-unsub", "made again by the API, ended by the API, subscribed by the client", "§16")
async def _(t):
    a, ch = await t.client(), t.ch("recov")
    await a.sub(ch)
    await t.api("subscribe", user=t.user, channel=ch)
    await t.settle(0.1)
    await t.api("unsubscribe", user=t.user, channel=ch)
    await t.settle(0.1)
    await t.seed(ch, 1)
    await a.sub(ch)
    await t.seed(ch, 1)
    await t.settle(0.15)


@case("serverside-api-subscribe-again-sub-refresh", "made again by the API: sub_refresh afterwards", "§5,§16")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub(ch, token=t.subtok(ch, exp=now(7200)))
    await t.api("subscribe", user=t.user, channel=ch)
    await t.settle(0.1)
    await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch, exp=now(7200)))
    await a.closed(0.3)


@case("serverside-api-subscribe-again-join", "made again by the API: joins that others see", "§15,§16")
async def _(t):
    w, a, ch = await t.client("w-" + t.tag()), await t.client(), t.ch("pres")
    await w.sub(ch, join_leave=True)
    await a.sub(ch)
    await t.settle(0.15)
    await t.api("subscribe", user=t.user, channel=ch)
    await t.settle(0.15)
    await t.api("unsubscribe", user=t.user, channel=ch)
    await t.settle(0.15)
    await t.api("presence_stats", channel=ch)


@case("serverside-api-subscribe-order", "publications around a subscribe by the API", "§16")
async def _(t):
    ch = t.ch("recov")
    await t.client()
    await t.seed(ch, 1)
    await t.api("subscribe", user=t.user, channel=ch)
    await t.seed(ch, 2)
    await t.settle(0.2)


# Ends.
async def sub_then_end(t, cs, ch):
    await sub_all(t, cs, ch)
    await t.api("unsubscribe", user=t.user, channel=ch)
    await t.settle(0.1)


act("twice", "the same call twice", "unsubscribe", C(), before=sub_then_end)
act("one-of-two", "one of two connections has it", "unsubscribe", C(), conns=2, before=sub_first)
act("recov", "in a channel with recovery", "unsubscribe", C(), ns="recov", before=sub_all)
act("unknown-ns-connected", "an unknown namespace", "unsubscribe", {"channel": "nope:x"})
act("long", "a name of 300 bytes", "unsubscribe", lambda t, cs, ch: {"channel": "open:" + "x" * 295})
act("nonascii", "a name not in ASCII", "unsubscribe", lambda t, cs, ch: {"channel": "open:\u00e9"})
act("private", "a private channel that nobody has", "unsubscribe", lambda t, cs, ch: {"channel": "$" + ch})
act("client-unknown", "a connection that is not there", "unsubscribe", C(client="nope"), before=sub_all)
act("session-unknown", "a session that is not there", "unsubscribe", C(session="nope"), before=sub_all)
act("presence", "who is there afterwards", "unsubscribe", C(), ns="pres", conns=2, before=sub_all, after=lambda t, cs, ch: t.api("presence_stats", channel=ch))

D = dict(ref="§17.2,§28.1", after=wait_closed)
for code in (1, 999, 1000, 1001, 1005, 1006, 1011, 1015, 2000, 2999, 3001, 3499, 3500, 3999, 4000, 4499, 4999, 5000, 65535):
    act(f"code-{code}", f"code {code}", "disconnect", {"disconnect": {"code": code, "reason": "because"}}, **D)
act("code-0-reason", "code 0 with a reason", "disconnect", {"disconnect": {"code": 0, "reason": "because"}}, **D)
act("code-empty", "an empty disconnect", "disconnect", {"disconnect": {}}, **D)
act("code-null", "disconnect null", "disconnect", {"disconnect": None}, **D)
act("code-negative", "code -1", "disconnect", {"disconnect": {"code": -1, "reason": "because"}}, **D)
act("code-string", "code a string", "disconnect", {"disconnect": {"code": "3000"}}, **D)
act("code-over", "a code over 2^32", "disconnect", {"disconnect": {"code": 2**32 + 4000}}, **D)
act("code-70000", "a code over 65535", "disconnect", {"disconnect": {"code": 70000}}, **D)
act("code-case", "Code and Reason", "disconnect", {"disconnect": {"Code": 4500, "Reason": "upper"}}, **D)
act("code-reconnect-field", "the old field reconnect", "disconnect", {"disconnect": {"code": 4500, "reason": "x", "reconnect": True}}, **D)
act("reason-123", "a reason of 123 bytes", "disconnect", {"disconnect": {"code": 4502, "reason": "r" * 123}}, **D)
act("reason-unicode", "a reason not in ASCII", "disconnect", {"disconnect": {"code": 4502, "reason": "gr\u00fc\u00dfe \u2603"}}, **D)
act("reason-empty", "an empty reason", "disconnect", {"disconnect": {"code": 4502, "reason": ""}}, **D)
act("session-empty", "an empty session", "disconnect", {"session": ""}, **D)
act("whitelist-null", "whitelist null", "disconnect", {"whitelist": None}, **D)
act("whitelist-empty", "an empty whitelist", "disconnect", {"whitelist": []}, **D)
act("whitelist-number", "a number in the whitelist", "disconnect", {"whitelist": [5]}, **D)
act("subscribed", "a connection with subscriptions: no unsubscribe comes first", "disconnect", {}, before=sub_all, **D)

R = dict(ref="§17.2", after=wait_closed)
act("expire-at-0", "expire_at 0", "refresh", {"expire_at": 0}, claims={"exp": now(7200)}, **R)
act("expire-at-negative", "expire_at -1", "refresh", {"expire_at": -1}, **R)
act("expired-and-ahead", "expired and an end ahead", "refresh", {"expired": True, "expire_at": 4102444800}, **R)
act("expired-string", "expired a string", "refresh", {"expired": "yes"}, **R)
act("info-null", "info null", "refresh", {"info": None, "expire_at": 4102444800}, **R)
act("client-unknown", "a connection that is not there", "refresh", {"client": "nope", "expired": True}, **R)
act("session-unknown", "a session that is not there", "refresh", {"session": "nope", "expired": True}, **R)
act("two", "both connections", "refresh", {"expire_at": 4102444800}, conns=2, **R)


@case("serverside-api-refresh-info-published", "another info by the API: what a publication tells", "§11,§17.2")
async def _(t):
    a, ch = await t.client(claims={"info": {"v": 1}}), t.ch("pub")
    await a.sub(ch)
    await t.api("refresh", user=t.user, info={"v": 2})
    await t.settle(0.1)
    await a.pub(ch, 1)
    await t.settle(0.15)


# Presence with several clients of a user.

@case("presence-calls-users", "three users on five connections", "§15")
async def _(t):
    ch = t.ch("pres")
    for u in "aabbc":
        c = await t.client(u + "-" + t.tag(), claims={"info": {"u": u}})
        await c.sub(ch)
    await t.api("presence_stats", channel=ch)
    await t.api("presence", channel=ch)
    await t.api("disconnect", user="b-" + t.tag())
    await t.settle(0.2)
    await t.api("presence_stats", channel=ch)
    await t.api("disconnect", user="a-" + t.tag(), whitelist=[t.conns[0].client])
    await t.settle(0.2)
    await t.api("presence_stats", channel=ch)


@case("presence-calls-mixed", "a user and anonymous clients", "§15")
async def _(t):
    ch = t.ch("presanon")
    for u in ("x-" + t.tag(), "", ""):
        c = await t.client(u)
        await c.sub(ch)
    await c.pres(ch)
    await c.stats(ch)


@case("presence-calls-join-order", "join and leave of three, in order", "§15")
async def _(t):
    ch = t.ch("pres")
    a, b, c = [await t.client(n + "-" + t.tag()) for n in "abc"]
    await a.sub(ch, join_leave=True)
    for x in (b, c):
        await x.sub(ch)
        await t.settle(0.08)
    for x in (b, c):
        await x.unsub(ch)
        await t.settle(0.08)
    await t.settle(0.15)


@case("presence-calls-self-join", "join_leave asked: one's own leave is not told", "§15")
async def _(t):
    a, ch = await t.client(), t.ch("pres")
    await a.sub(ch, join_leave=True)
    await t.settle(0.1)
    await a.unsub(ch)
    await t.settle(0.15)
    await a.sub(ch, join_leave=True)
    await t.settle(0.15)


# JSON of the API.
for n, b in [("field-null", '{"channel":"open:zz","data":null}'), ("field-dup", '{"channel":"open:zz","data":1,"data":{}}'), ("key-escape", '{"\\u0063hannel":"open:zz","data":1}'), ("long-s", '{"channel":"open:zz","data":1,"\u017fkip_history":5}'),
             ("upper", '{"CHANNEL":"open:zz","DATA":1}'), ("surrogate", '{"channel":"open:\\ud800","data":1}'), ("control", '{"channel":"open:a\u0001","data":1}'), ("tags-null-value", '{"channel":"open:zz","data":1,"tags":{"a":null}}'),
             ("tags-string", '{"channel":"open:zz","data":1,"tags":"x"}'), ("tags-dup", '{"channel":"open:zz-tags","data":1,"tags":{"a":"1","a":"2"}}'), ("bool-number", '{"channel":"open:zz","data":1,"skip_history":1}'), ("bool-null", '{"channel":"open:zz","data":1,"skip_history":null}'),
             ("version-float", '{"channel":"open:zz","data":1,"version":1.0}'), ("version-exp", '{"channel":"open:zz","data":1,"version":1e2}'), ("version-null", '{"channel":"open:zz","data":1,"version":null}'), ("version-over", '{"channel":"open:zz","data":1,"version":18446744073709551616}'),
             ("key-number", '{"channel":"open:zz","data":1,"idempotency_key":5}'), ("b64-number", '{"channel":"open:zz","b64data":5}'), ("b64-null", '{"channel":"open:zz","b64data":null,"data":1}'), ("b64-newline", '{"channel":"open:zz","b64data":"eyJi\\nIjoxfQ=="}'),
             ("b64-bits", '{"channel":"open:zz","b64data":"eyJiIjoxfR=="}'), ("data-spaces", '{"channel":"open:zz-spaces","data":  { "a" : 1 }  }'), ("empty-key", '{"":1,"channel":"open:zz","data":1}'), ("big", '{"channel":"open:zz","data":1,"x":' + "1" * 400 + "}"),
             ("deep-unknown", '{"channel":"open:zz","data":1,"x":' + "[" * 200 + "]" * 200 + "}"), ("comment", '{"channel":"open:zz",/* */"data":1}'), ("two-commas", '{"channel":"open:zz",,"data":1}'), ("leading-zero", '{"channel":"open:zz","data":01}'),
             ("plus", '{"channel":"open:zz","data":+1}'), ("minus", '{"channel":"open:zz","data":-}'), ("dot", '{"channel":"open:zz","data":1.}'), ("tab-in-string", '{"channel":"open:a\tb","data":1}'), ("form-feed", '\x0c{"channel":"open:zz","data":1}'),
             ("nbsp", '\u00a0{"channel":"open:zz","data":1}'), ("nul", '{"channel":"open:zz","data":1}\0'), ("utf16", '{"channel":"open:zz","data":1}'.encode("utf-16")), ("escape-bad", '{"channel":"open:\\x","data":1}'), ("escape-short", '{"channel":"open:\\u12","data":1}')]:
    api("=json-" + n, f"JSON: {n}", "publish", b, ref="§17.1")
for n, b in [("limit-string", '{"channel":"hist:zz","limit":"1"}'), ("limit-float", '{"channel":"hist:zz","limit":1.0}'), ("limit-exp", '{"channel":"hist:zz","limit":1e0}'), ("limit-over", '{"channel":"hist:zz","limit":2147483648}'), ("limit-null", '{"channel":"hist:zz","limit":null}'),
             ("since-null", '{"channel":"hist:zz","limit":1,"since":null}'), ("since-empty", '{"channel":"hist:zz","limit":1,"since":{}}'), ("since-case", '{"channel":"hist:zz","limit":1,"Since":{"OFFSET":0,"Epoch":"q"}}'), ("since-array", '{"channel":"hist:zz","limit":1,"since":[]}'),
             ("since-negative", '{"channel":"hist:zz","limit":1,"since":{"offset":-1}}'), ("since-epoch-number", '{"channel":"hist:zz","limit":1,"since":{"epoch":5}}'), ("since-unknown", '{"channel":"hist:zz","limit":1,"since":{"offset":0,"x":1}}'), ("reverse-string", '{"channel":"hist:zz","reverse":"true"}')]:
    api("=json-history-" + n, f"JSON of history: {n}", "history", b, ref="§17.1")
for n, b in [("array-null", '{"channels":[null],"data":1}'), ("array-number", '{"channels":[5],"data":1}'), ("null", '{"channels":null,"data":1}'), ("object", '{"channels":{"a":1},"data":1}'), ("case", '{"Channels":["open:zz"],"Data":1}'), ("dup", '{"channels":["nope:x"],"channels":["open:zz"],"data":1}')]:
    api("=json-broadcast-" + n, f"JSON of broadcast: {n}", "broadcast", b, ref="§17.1")
for n, b in [("params-null", '{"method":"nope","params":null}'), ("params-array", '{"method":"nope","params":[1]}'), ("method-number", '{"method":5}'), ("method-null", '{"method":null}'), ("method-case", '{"Method":"nope"}')]:
    api("=json-rpc-" + n, f"JSON of rpc: {n}", "rpc", b, ref="§17.1")
for n, b in [("extra", '{"pattern":"zz-none","x":1}'), ("array", "[]"), ("string", '"x"'), ("star-star", '{"pattern":"zz-none-**"}'), ("bad-class", '{"pattern":"[z-a]"}'), ("open-brace", '{"pattern":"{a"}'), ("escape", '{"pattern":"\\\\"}'), ("negated", '{"pattern":"[!a]zz-none"}'), ("brace-nested", '{"pattern":"zz-none{a,{b,c}}"}')]:
    api("=json-channels-" + n, f"JSON of channels: {n}", "channels", b, ref="§17.2")
api("=json-info-array", "info with a list", "info", "[]", ref="§17.1")
api("=json-info-open", "info with half an object", "info", "{", ref="§17.1")


@case("api-channels-globs", "patterns against channels that are there", "§17.2", pb=False)
async def _(t):
    a = await t.client()
    g = "g" + t.run
    for n in ("a", "b", "ab", "a/b", "a.b", "a*b"):
        await a.sub(f"open:{g}{n}")
    for p in (f"open:{g}?", f"open:{g}[ab]", f"open:{g}[!a]", f"open:{g}[^a]", f"open:{g}a?b", f"open:{g}a*", f"open:{g}**", f"open:{g}{{a,ab}}", f"open:{g}a\\*b", f"open:{g}[a-c]b", f"{g}*", f"*{g}a", f"open:{g}a", f"OPEN:{g}a", f"open:{g}{{a,b,}}*"):
        await t.api("channels", pattern=p)


# Batches.
P = lambda t, ns="hist", n="", **kw: {"publish": {"channel": t.ch(ns, n), "data": 1, **kw}}
for n, b in [("many", lambda t: {"commands": [P(t, n=str(i % 3)) for i in range(30)]}), ("many-parallel", lambda t: {"commands": [P(t, n=str(i)) for i in range(30)], "parallel": True}), ("reads-own-writes", lambda t: {"commands": [P(t), {"history": {"channel": t.ch("hist"), "limit": 5}}, {"history_remove": {"channel": t.ch("hist")}}, {"history": {"channel": t.ch("hist"), "limit": 5}}]}),
             ("parallel-null", lambda t: {"commands": [P(t)], "parallel": None}), ("parallel-string", lambda t: {"commands": [P(t)], "parallel": "yes"}), ("command-string", {"commands": ["x"]}), ("command-array", {"commands": [[]]}), ("command-number", {"commands": [5]}),
             ("inner-null", {"commands": [{"publish": None}]}), ("inner-string", {"commands": [{"publish": "x"}]}), ("inner-wrong", {"commands": [{"publish": {"channel": 5}}]}), ("case", lambda t: {"Commands": [{"Publish": {"Channel": t.ch("open"), "data": 1}}]}), ("unknown-beside", lambda t: {"commands": [{"foo": 1, **P(t)}]}),
             ("second-order", lambda t: {"commands": [{"presence": {"channel": t.ch("pres")}, **P(t)}]}), ("info", {"commands": [{"rpc": {"method": ""}}, {"channels": {"pattern": "zz-none"}}]}), ("nested-many", {"commands": [{"batch": {"commands": [{"rpc": {}}]}}]}), ("pro", {"commands": [{"connections": {}}, {"update_user_status": {"users": ["x"]}}]}),
             ("error-first", lambda t: {"commands": [{"publish": {"channel": "nope:x", "data": 1}}, P(t)]}), ("broadcast-errors", lambda t: {"commands": [{"broadcast": {"channels": ["nope:x", t.ch("hist")], "data": 1}}]}), ("idempotent", lambda t: {"commands": [P(t, idempotency_key="k"), P(t, idempotency_key="k")]}), ("dup-commands", '{"commands":[{"rpc":{}}],"commands":[]}')]:
    api("calls-" + n, f"batch: {n}", "batch", b)
api("calls-mode", "errors under transport mode", "batch", lambda t: {"commands": [{"publish": {"channel": "nope:x", "data": 1}}, P(t)]}, headers={"X-Centrifugo-Error-Mode": "transport"})

for n, b in [("info", {"method": "info", "params": {"x": 1}, "id": 2**32 - 1}), ("id-string", {"id": "7", "method": "presence", "params": {"channel": "pres:zz"}}), ("id-over", {"id": 2**32, "method": "presence", "params": {"channel": "pres:zz"}}), ("id-negative", {"id": -1, "method": "presence", "params": {"channel": "pres:zz"}}), ("id-null", {"id": None, "method": "presence", "params": {"channel": "pres:zz"}}),
             ("method-null", {"method": None, "params": {}}), ("method-case", {"method": "Presence", "params": {"channel": "pres:zz"}}), ("method-array", {"method": [], "params": {}}), ("number-negative", {"method": -1, "params": {}}), ("number-float", {"method": 4.0, "params": {"channel": "pres:zz"}}), ("number-far", {"method": 99, "params": {}}), ("number-string", {"method": "4", "params": {"channel": "pres:zz"}}),
             ("params-string", {"method": "presence", "params": "x"}), ("params-array", {"method": "presence", "params": []}), ("field-case", {"Method": "presence", "Params": {"channel": "pres:zz"}}), ("array", "[]"), ("array-of-commands", '[{"method":"presence","params":{"channel":"pres:zz"}}]'), ("null", "null"), ("two-glued", '{"method":"presence","params":{"channel":"pres:zz"}}{"method":"presence","params":{"channel":"pres:zz"}}'), ("spaces", ' {"method":"presence","params":{"channel":"pres:zz"}} ')]:
    if n != "info":
        legacy("calls-" + n, f"legacy: {n}", b)

# Publishing: names and payloads at their limits, by the API.
for n, body in [("len-255", {"channel": "open:" + "x" * 250, "data": 1}), ("len-256", {"channel": "open:" + "x" * 251, "data": 1}), ("len-256-unknown", {"channel": "nope:" + "x" * 251, "data": 1}), ("nonascii-pub", {"channel": "pub:\u00e9", "data": 1}), ("space", {"channel": "open:a b", "data": 1}), ("star", {"channel": "open:*", "data": 1}), ("only-ns", {"channel": "open:", "data": 1}), ("boundary", {"channel": ":x", "data": 1}),
                ("private-unknown", {"channel": "$nope:x", "data": 1}), ("private-bare", {"channel": "$", "data": 1}), ("no-data-unknown", {"channel": "nope:x"}), ("no-data-fobj", {"channel": "fobj:x"}), ("format-null-fjson", {"channel": "fjson:x", "data": None}), ("format-b64-fjson", {"channel": "fjson:x", "b64data": "eyJiIjoxfQ=="}), ("format-b64-array-fobj", {"channel": "fobj:x", "b64data": "WzFd"}), ("format-b64-empty-fbin", {"channel": "fbin:x", "b64data": ""})]:
    api("calls-" + n, f"publish: {n}", "publish", body, ref="§7,§8,§17.2")
