"""Frames and commands in combination: orders, repetitions, odd JSON and Protobuf, limits (§2, §7, §9, §10, §28, §29)."""
import codec
from lib import add, case, now

from cases.b_frames import raw
from cases.c_subscribe import sub


def both(name, intent, go, ref="§2", pb=True):
    add("wire-" + name, intent, ref, go, pb=pb)


# Precedence of faults.
for n, kw in [("long-type", dict(channel="open:" + "x" * 251, type=99)), ("long-delta", dict(channel="open:" + "x" * 251, delta="zip")), ("unknown-delta", dict(channel="nope:x", delta="zip")), ("unknown-type", dict(channel="nope:x", type=1)), ("unknown-type-5", dict(channel="nope:x", type=5)), ("empty-delta", dict(channel="", delta="zip")), ("closed-type", dict(channel="deny:x", type=1)), ("closed-tf", dict(channel="deny:x", tf={"key": "a", "cmp": "eq", "val": "b"})),
              ("open-tf-bad", dict(channel="open:wire-x", tf={"cmp": "zz"})), ("tags-tf-bad-delta", dict(channel="tags:wire-x", tf={"cmp": "zz"}, delta="fossil")), ("type-minus", dict(channel="open:wire-x", type=-1)), ("type-2", dict(channel="open:wire-x", type=2)), ("type-3", dict(channel="open:wire-x", type=3)), ("type-5", dict(channel="open:wire-x", type=5)), ("type-max", dict(channel="open:wire-x", type=2**31 - 1)), ("phase-1", dict(channel="open:wire-x", phase=1)),
              ("phase-99", dict(channel="open:wire-x", phase=99)), ("cursor", dict(channel="open:wire-x", cursor="x", limit=5, asc=True)), ("limit-minus", dict(channel="open:wire-x", limit=-1)), ("flag-max", dict(channel="open:wire-x", flag=2**63 - 1)), ("flag-min", dict(channel="open:wire-x", flag=-2**63)), ("private-token-bad-long", dict(channel="$open:" + "x" * 251, token="zz")), ("userlimited-closed", dict(channel="user:a#zz", token="")), ("regex-long", dict(channel="regex:" + "a" * 250)),
              ("type-4-hist", dict(channel="hist:wire-x", type=4)), ("type-1-recover", dict(channel="recov:wire-x", type=1, recover=True)), ("delta-upper", dict(channel="delta:wire-x", delta="FOSSIL")), ("delta-not-allowed", dict(channel="recov:wire-x", delta="fossil")), ("data-null", dict(channel="open:wire-x", data=None)), ("data-string", dict(channel="open:wire-x", data="x"))]:
    async def _(t, kw=kw):
        a = await t.client()
        await a.cmd("subscribe", dict(kw))
        await a.closed(0.25)
    both("fault-" + n, f"subscribe: {n}", _, ref="§2,§9,§28")
for m in ("publish", "presence", "presence_stats", "history"):
    for n, ch in [("long", "pub:" + "x" * 300), ("nonascii", "pub:\u00e9"), ("private", "$pub:x"), ("private-hist", "$hist:of-"), ("only-ns", "pub:"), ("bare-boundary", ":"), ("control", "pub:a\u0001"), ("user", "user:a#zz"), ("star", "pub:*")]:
        async def _(t, m=m, ch=ch):
            a = await t.client()
            own = ch + m if ch.endswith("-") else ch
            await a.cmd(m, channel=own, **({"data": 1} if m == "publish" else {}))
            await a.closed(0.25)
        both(f"name-{m}-{n}", f"{m} in {n}", _, ref="§7,§9")
    async def _(t, m=m):
        a = await t.client("")
        await a.cmd(m, channel="nope:x", **({"data": 1} if m == "publish" else {}))
        await a.cmd(m, channel="open:x", **({"data": 1} if m == "publish" else {}))
        await a.cmd(m, channel="presub:x", **({"data": 1} if m == "publish" else {}))
        await a.cmd(m, channel="histsub:x", **({"data": 1} if m == "publish" else {}))
    both(f"anon-{m}", f"anonymous {m} in four namespaces", _, ref="§9")


# Orders and repetitions.
@case("wire-unsub-twice-one-frame", "subscribe, unsubscribe twice, in one frame", "§2")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.send({"id": 5, "subscribe": {"channel": ch}}, {"id": 6, "unsubscribe": {"channel": ch}}, {"id": 7, "unsubscribe": {"channel": ch}})
    await a.reply(7)


@case("wire-sub-twice-one-frame", "subscribe twice in one frame", "§2")
async def _(t):
    a, ch = await t.client(), t.ch("pres")
    await a.send({"id": 5, "subscribe": {"channel": ch}}, {"id": 6, "subscribe": {"channel": ch}}, {"id": 7, "presence_stats": {"channel": ch}})
    await a.reply(7)


@case("wire-pub-sub-one-frame", "publish, subscribe, publish in one frame", "§2")
async def _(t):
    a, ch = await t.client(), t.ch("pub")
    await a.send({"id": 5, "publish": {"channel": ch, "data": 1}}, {"id": 6, "subscribe": {"channel": ch}}, {"id": 7, "publish": {"channel": ch, "data": 2}})
    await a.reply(7)
    await t.settle(0.15)


@case("wire-connect-batch-all", "connect, subscribe, publish, history in one frame", "§2")
async def _(t):
    a, ch = await t.ws(), t.ch("hist")
    await a.send({"id": 1, "connect": {"token": t.tok()}}, {"id": 2, "subscribe": {"channel": ch}}, {"id": 3, "publish": {"channel": ch, "data": 1}}, {"id": 4, "history": {"channel": ch, "limit": 5}})
    await a.reply(4)
    await t.settle(0.15)


@case("wire-connect-twice", "a second connect", "§2")
async def _(t):
    a = await t.client()
    await a.send({"id": 2, "connect": {"token": t.tok()}})
    await a.closed(0.5)


@case("wire-error-then-go-on", "errors do not end a connection", "§2,§28")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub("nope:x")
    await a.sub("deny:x")
    await a.pub(ch, 1)
    await a.hist(ch)
    await a.pres(ch)
    await a.cmd("rpc", {"method": "nope"})
    await a.sub(ch)


@case("wire-rpc-many", "several calls of rpc ping", "§1.3")
async def _(t):
    a = await t.client()
    for d in ({"a": 1}, "x", 5, None, []):
        await a.cmd("rpc", {"method": "ping", "data": d})
    await a.cmd("rpc", {"method": "PING"})
    await a.cmd("rpc", {"method": "ping ", "data": {}})
    await a.cmd("rpc", {"method": "ns:ping", "data": {}})


@case("wire-send-kinds", "send, data of each kind", "§2")
async def _(t):
    for d in ({"a": 1}, "x", None):
        a = await t.client()
        await a.send({"send": {"data": d}})
        await a.closed(0.3)


@case("wire-sub-refresh-after-unsub", "sub_refresh after unsubscribe", "§5")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub(ch, token=t.subtok(ch, exp=now(7200)))
    await a.unsub(ch)
    await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch, exp=now(7200)))
    await a.closed(0.25)


for n, kw in [("type-2", dict(type=2)), ("type-99", dict(type=99)), ("long", dict(channel="open:" + "x" * 300)), ("unknown", dict(channel="nope:x")), ("no-token-subscribed", dict(token=""))]:
    async def _(t, kw=kw):
        a, ch = await t.client(), t.ch("open")
        await a.sub(ch, token=t.subtok(ch, exp=now(7200)))
        await a.cmd("sub_refresh", {"channel": ch, "token": t.subtok(ch, exp=now(7200)), **kw})
        await a.closed(0.25)
    both("sub-refresh-" + n, f"sub_refresh: {n}", _, ref="§5")


@case("wire-sub-refresh-info", "sub_refresh with another info: presence", "§5,§15")
async def _(t):
    a, ch = await t.client(), t.ch("pres")
    await a.sub(ch, token=t.subtok(ch, exp=now(7200), info={"v": 1}))
    await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch, exp=now(7200), info={"v": 2}))
    await t.settle(1.4)
    await t.api("presence", channel=ch)


@case("wire-sub-refresh-info-published", "sub_refresh with another info: a publication", "§5,§11")
async def _(t):
    a, ch = await t.client(), t.ch("pub")
    await a.sub(ch, token=t.subtok(ch, exp=now(7200), info={"v": 1}))
    await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch, exp=now(7200), info={"v": 2}))
    await a.pub(ch, 1)
    await t.settle(0.15)


@case("wire-sub-refresh-far", "sub_refresh with an end far ahead", "§5")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub(ch, token=t.subtok(ch, exp=now(5 * 365 * 86400)))
    await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch, exp=now(6 * 365 * 86400)))


@case("wire-limit-mixed", "channel_limit over token and own subscriptions", "§10,§16")
async def _(t):
    a = await t.client(claims={"channels": [t.ch("open", f"s{i}-") for i in range(10)]})
    for i in range(4):
        await a.sub(t.ch("open", f"c{i}-"))


@case("wire-limit-precedence", "channel_limit and a name that is taken, unknown, closed", "§10,§28")
async def _(t):
    a = await t.client()
    for i in range(12):
        await a.sub(t.ch("open", f"{i}-"))
    await a.sub(t.ch("open", "1-"))
    await a.sub("nope:x")
    await a.sub("deny:x")
    await a.sub("open:" + "x" * 300)
    await a.sub("open:y", token="garbage")


@case("wire-many-commands", "two hundred commands in a frame", "§2")
async def _(t):
    a, ch = await t.client(), t.ch("hist")
    await a.send(*({"id": 10 + i, "publish": {"channel": ch, "data": i}} for i in range(200)))
    await a.reply(209)
    await a.hist(ch, limit=2, reverse=True)


@case("wire-publish-to-oneself-order", "a subscriber's own publications and replies", "§2,§11")
async def _(t):
    a, ch = await t.client(), t.ch("pub")
    await a.sub(ch)
    for i in range(3):
        await a.pub(ch, i)
    await t.settle(0.15)


@case("wire-two-connections-order", "two publishers, one after another", "§11")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("pub")
    await a.sub(ch)
    await b.sub(ch)
    for c in (a, b, a):
        await c.pub(ch, c.label)
        await t.settle(0.06)
    await t.settle(0.1)


@case("wire-close-by-client", "the client closes with a code of its own", "§1.1", pb=False)
async def _(t):
    a = await t.client()
    await a.ws.close(4123, "bye")
    await a.closed(0.5)


# JSON.
for n, f in [("tab-space", '\t{ "id":\t5 , "presence" : {"channel":"open:a"} }\t'), ("cr", '{"id":5,"presence":{"channel":"open:a"}}\r'), ("form-feed", '{"id":5,"presence":{"channel":"open:a"}}\f'), ("nul", '{"id":5,"presence":{"channel":"open:a"}}\0'), ("two-glued", '{"id":5,"presence":{"channel":"open:a"}}{"id":6,"history":{"channel":"open:a"}}'), ("newline-inside", '{"id":5,\n"presence":{"channel":"open:a"}}'),
             ("escaped-channel", '{"id":5,"presence":{"channel":"op\\u0065n:a"}}'), ("surrogate-channel", '{"id":5,"subscribe":{"channel":"open:\\ud83d\\ude00"}}'), ("lone-surrogate-channel", '{"id":5,"subscribe":{"channel":"open:\\ud800"}}'), ("id-exp", '{"id":5e0,"presence":{"channel":"open:a"}}'), ("id-leading-zero", '{"id":05,"presence":{"channel":"open:a"}}'), ("id-plus", '{"id":+5,"presence":{"channel":"open:a"}}'), ("id-true", '{"id":true,"presence":{"channel":"open:a"}}'),
             ("dup-channel", '{"id":5,"presence":{"channel":"nope:a","channel":"open:a"}}'), ("case-channel", '{"id":5,"presence":{"Channel":"open:a"}}'), ("case-method", '{"id":5,"PRESENCE":{"channel":"open:a"}}'), ("method-null-beside", '{"id":5,"history":null,"presence":{"channel":"open:a"}}'), ("method-false", '{"id":5,"presence":false}'), ("method-number", '{"id":5,"presence":5}'), ("null-fields", '{"id":5,"history":{"channel":"hist:zz","limit":null,"since":null,"reverse":null}}'),
             ("limit-float", '{"id":5,"history":{"channel":"hist:zz","limit":1.0}}'), ("limit-exp", '{"id":5,"history":{"channel":"hist:zz","limit":1e0}}'), ("limit-over", '{"id":5,"history":{"channel":"hist:zz","limit":2147483648}}'), ("since-case", '{"id":5,"history":{"channel":"hist:zz","limit":1,"since":{"Offset":1,"Epoch":"q"}}}'), ("since-empty", '{"id":5,"history":{"channel":"hist:zz","limit":1,"since":{}}}'), ("offset-over", '{"id":5,"subscribe":{"channel":"recov:zz","recover":true,"offset":18446744073709551616}}'),
             ("offset-max", '{"id":5,"subscribe":{"channel":"recov:zzmax","recover":true,"offset":18446744073709551615}}'), ("flag-float", '{"id":5,"subscribe":{"channel":"open:zz","flag":1.5}}'), ("tf-number", '{"id":5,"subscribe":{"channel":"tags:zz","tf":5}}'), ("tf-vals-null", '{"id":5,"subscribe":{"channel":"tags:zz","tf":{"key":"k","cmp":"in","vals":[null]}}}'), ("data-open", '{"id":5,"publish":{"channel":"pub:zz","data":{}'), ("data-number-bad", '{"id":5,"publish":{"channel":"pub:zz","data":01}}'), ("data-nan", '{"id":5,"publish":{"channel":"pub:zz","data":NaN}}'),
             ("data-control", '{"id":5,"publish":{"channel":"pub:zz","data":"a\u0001b"}}'), ("data-escape-bad", '{"id":5,"publish":{"channel":"pub:zz","data":"\\x"}}'), ("data-trailing", '{"id":5,"publish":{"channel":"pub:zz","data":1 2}}'), ("data-deep-300", '{"id":5,"publish":{"channel":"pub:zz","data":' + "[" * 300 + "]" * 300 + "}}"), ("unknown-deep", '{"id":5,"presence":{"channel":"open:a","x":' + "[" * 300 + "]" * 300 + "}}"), ("unknown-bad", '{"id":5,"presence":{"channel":"open:a","x":tru}}'), ("unknown-number-bad", '{"id":5,"presence":{"channel":"open:a","x":1.}}'),
             ("error-field", '{"id":5,"error":{"code":1},"presence":{"channel":"open:a"}}'), ("push-field", '{"id":5,"push":{"channel":"x"}}'), ("empty-key", '{"id":5,"":1,"presence":{"channel":"open:a"}}'), ("single-quote", "{'id':5}"), ("comment", '{"id":5,/*x*/"presence":{"channel":"open:a"}}'), ("connect-in-batch", '{"id":5,"presence":{"channel":"open:a"}}\n{"id":6,"connect":{}}'), ("send-null", '{"send":null}'), ("send-null-id", '{"id":5,"send":null}'), ("id-and-pong", '{"id":0}'), ("unknown-only", '{"foo":1}'), ("pong-with-unknown", '{"foo":{}}')]:
    raw("wire-" + n, f"JSON: {n}", f, wait=0.35)

# Protobuf.
PB = dict(pb=True, wait=0.35)
cmd = lambda b: codec.varint(len(b)) + b
presence = codec.encode("Command", {"id": 5, "presence": {"channel": "open:a"}})
for n, f in [("unknown-varint", cmd(presence + b"\xf8\x06\x01")), ("unknown-fixed64", cmd(presence + b"\xf9\x06" + bytes(8))), ("unknown-fixed32", cmd(presence + b"\xfd\x06" + bytes(4))), ("unknown-group", cmd(presence + b"\xfb\x06\xfc\x06")), ("unknown-first", cmd(b"\xf8\x06\x01" + presence)), ("unknown-inside", cmd(codec.encode("Command", {"id": 5}) + b"\x42\x0a\x0a\x06open:a\xf8\x06\x01"[:2] + b"\x0a\x06open:a\xf8\x06")),
             ("id-twice", cmd(b"\x08\x07" + presence)), ("id-wrong-type", cmd(b"\x0a\x01x" + presence)), ("channel-wrong-type", cmd(b"\x08\x05\x42\x02\x08\x05")), ("field-0", cmd(b"\x00\x01" + presence)), ("end-group", cmd(b"\x0c" + presence)), ("bad-wire-type", cmd(b"\x0e" + presence)), ("truncated-inside", cmd(b"\x08\x05\x42\x09\x0a\x06open")), ("id-10-bytes", cmd(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01" + b"\x42\x08\x0a\x06open:a")), ("id-over", cmd(b"\x08\x80\x80\x80\x80\x10" + b"\x42\x08\x0a\x06open:a")),
             ("varint-11", cmd(b"\x08" + b"\xff" * 10 + b"\x01")), ("overlong-id", cmd(b"\x08\x85\x00" + b"\x42\x08\x0a\x06open:a")), ("overlong-length", b"\x8c\x00" + presence), ("method-twice", cmd(presence + b"\x42\x08\x0a\x06open:b")), ("presence-merged", cmd(b"\x08\x05\x42\x00\x42\x08\x0a\x06open:a")), ("two-methods", cmd(presence + b"\x5a\x00")), ("bool-2", cmd(codec.encode("Command", {"id": 5}) + b"\x2a\x0a\x0a\x06open:z\x18\x02")),
             ("pong-and-command", b"\x00" + cmd(presence)), ("command-and-pong", cmd(presence) + b"\x00"), ("length-only", b"\x05"), ("trailing-byte", cmd(presence) + b"\x01"), ("json", b'{"id":5,"presence":{"channel":"open:a"}}'), ("null-in-channel", cmd(b"\x08\x05\x42\x07\x0a\x05a\x00b:c")), ("bad-utf8-data", cmd(codec.encode("Command", {"id": 5, "publish": {"channel": "pub:zz", "data": b"\xff\xfe"}}))), ("bad-utf8-token", cmd(b"\x08\x05\x2a\x0b\x0a\x06open:b\x12\x01\xff")), ("bad-utf8-method", cmd(b"\x08\x05\x6a\x03\x12\x01\xff")),
             ("negative-limit", codec.frame({"id": 5, "history": {"channel": "hist:zz", "limit": -1}})), ("negative-type", codec.frame({"id": 5, "subscribe": {"channel": "open:zz", "type": -1}}))]:
    raw("wire-pb-" + n, f"Protobuf: {n}", f, ref="§29", **PB)
for n, path in [("query-json-proto", "/connection/websocket?cf_protocol=json"), ("query-both", "/connection/websocket?format=json&cf_protocol=protobuf"), ("query-case", "/connection/websocket?format=PROTOBUF"), ("query-escaped", "/connection/websocket?format=%70rotobuf"), ("query-twice", "/connection/websocket?format=json&format=protobuf"), ("query-twice-first", "/connection/websocket?format=protobuf&format=json"), ("query-plus", "/connection/websocket?format=protobuf+"), ("query-name-escaped", "/connection/websocket?f%6frmat=protobuf"), ("query-semicolon", "/connection/websocket?x;format=protobuf")]:
    raw("wire-" + n, f"the encoding by URL: {n}", lambda t: '{"id":1,"connect":{}}', connect=False, ref="§1.1", wait=0.4, ws=dict(path=path, subprotocols=None))
    raw("wire-pb-" + n, f"the encoding by URL, Protobuf sent: {n}", codec.frame({"id": 1, "connect": {}}), connect=False, ref="§1.1", wait=0.4, pb=True, ws=dict(path=path, subprotocols=None))


@case("wire-subprotocol-and-query", "a JSON subprotocol and Protobuf in the query", "§1.1", pb=False)
async def _(t):
    a = await t.ws(path="/connection/websocket?format=protobuf", subprotocols=["centrifuge-json"])
    t.note("subprotocol", a.ws.subprotocol if a else None)
    t.note("kind", None)
    if a:
        a.pb = True
        await a.raw(codec.frame({"id": 1, "connect": {}}))
        await a.closed(0.4)


# Ping frames of WebSocket, fragments, control frames.
@case("wire-ws-ping", "a WebSocket ping is answered", "§1.1", pb=False)
async def _(t):
    a = await t.client()
    import asyncio
    waiter = await a.ws.ping(b"hello")
    try:
        await asyncio.wait_for(waiter, 2)
        t.note("pong", True)
    except asyncio.TimeoutError:
        t.note("pong", False)


@case("wire-ws-fragments", "a command in three fragments", "§1.1", pb=False)
async def _(t):
    a = await t.client()
    await a.ws.send(['{"id":5,"pres', 'ence":{"chan', 'nel":"open:a"}}'])
    await a.reply(5)


# Ping and pong.
@case("timer-wire-pong-twice", "two pongs to one ping", "§1.3,§32.1", pb=False)
async def _(t):
    a = await t.client()
    a.auto_pong = False
    await a.ping()
    await a.raw("{}")
    await a.raw("{}")
    await a.closed(1)


@case("timer-wire-pong-batch", "a pong and a command in one frame", "§1.3", pb=False)
async def _(t):
    a = await t.client()
    a.auto_pong = False
    await a.ping()
    await a.raw('{}\n{"id":9,"rpc":{"method":"ping"}}')
    await a.closed(1)


@case("timer-wire-pong-late", "a pong after its time", "§1.3", pb=False)
async def _(t):
    a = await t.client()
    a.auto_pong = False
    await a.ping()
    await t.settle(1.2)
    await a.raw("{}")
    await a.closed(1.5)


# Types of publish, and what a login brings along.
for n, kw in [("type-99", dict(type=99)), ("type-minus", dict(type=-1)), ("type-2", dict(type=2)), ("type-4", dict(type=4)), ("removed", dict(removed=True, key="k")), ("type-99-unknown", dict(channel="nope:x", type=99)), ("type-1-closed", dict(channel="deny:x", type=1)), ("type-1-format", dict(channel="fobj:x", type=1, data=5))]:
    async def _(t, kw=kw):
        a, ch = await t.client(), t.ch("pub")
        await a.cmd("publish", {"channel": ch, "data": 1, **kw})
        await a.closed(0.25)
    both("publish-" + n, f"publish: {n}", _, ref="§2,§9")
for n, kw in [("data-string", dict(data="x")), ("name-empty", dict(name="", version="")), ("headers", dict(headers={"x-a": "b"})), ("headers-empty", dict(headers={})), ("flag", dict(flag=1)), ("flag-minus", dict(flag=-1)), ("dict", dict(dict="x", profile="y")), ("subs-empty", dict(subs={})), ("subs-unknown", dict(subs={"nope:x": {"recover": True}})), ("subs-delta-unknown", dict(subs={"delta:x": {"delta": "zip"}})), ("subs-flags", dict(subs={"open:x": {"recover": True, "offset": 1, "epoch": "x", "flag": 2, "delta": "fossil", "type": 99}}))]:
    async def _(t, kw=kw):
        a = await t.client(**kw)
        await a.sub(t.ch("open"))
    both("connect-" + n, f"connect: {n}", _, ref="§2")


@case("wire-connect-recover-two", "two server-side channels, one recovered, one lost", "§11,§16")
async def _(t):
    x, y = t.ch("recov", "x"), t.ch("recov", "y")
    r = await t.seed(x, 3)
    await t.seed(y, 3)
    await t.client(claims={"subs": {x: {}, y: {}}}, subs={x: {"recover": True, "offset": 1, "epoch": r.get("epoch", "")}, y: {"recover": True, "offset": 1, "epoch": "zz"}})
    await t.seed(x, 1)
    await t.settle(0.1)
    await t.seed(y, 1)
    await t.settle(0.15)


@case("wire-connect-recover-flag", "recovery of a server-side channel with the reject flag", "§11,§16")
async def _(t):
    ch = t.ch("recov")
    await t.seed(ch, 3)
    await t.client(claims={"subs": {ch: {}}}, subs={ch: {"recover": True, "offset": 1, "epoch": "zz", "flag": 2}})


@case("wire-connect-delta", "a server-side delta channel, deltas asked", "§11,§16")
async def _(t):
    ch = t.ch("delta")
    await t.client(claims={"subs": {ch: {}}}, subs={ch: {"delta": "fossil"}})
    for i in range(2):
        await t.api("publish", channel=ch, data={"t": "x" * 200, "n": i})
        await t.settle(0.06)
    await t.settle(0.15)


@case("wire-presence-many", "presence of five, asked by each protocol", "§15")
async def _(t):
    ch = t.ch("pres")
    for i in range(5):
        c = await t.client(f"{i}-" + t.tag(), claims={"info": {"i": i}})
        await c.sub(ch)
    await c.pres(ch)
    await c.stats(ch)


@case("wire-empty-data", "data of each empty kind by publish and by the API", "§8,§11")
async def _(t):
    a, ch = await t.client(), t.ch("pubboth")
    await a.sub(ch)
    for d in ({}, [], "", 0, False):
        await a.pub(ch, d)
        await t.api("publish", channel=ch, data=d)
        await t.settle(0.05)


@case("wire-private-both", "a channel with and without the private prefix are two", "§7")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub(ch)
    await a.sub("$" + ch, token=t.subtok("$" + ch))
    await t.seed("$" + ch, 1)
    await t.settle(0.1)
    await t.seed(ch, 1)
    await t.settle(0.15)


for n, ch in [("own-list-first", lambda t: f"user:a#{t.user},b"), ("hash-in-name", lambda t: f"user:a#b#{t.user}"), ("empty-in-list", lambda t: f"user:a#,{t.user}"), ("only-comma", "user:a#,"), ("private-own", lambda t: f"$user:a#{t.user}"), ("no-ns", lambda t: f"#{t.user}"), ("open-other", "useropen:a#zz"), ("open-own", lambda t: f"useropen:a#{t.user}"), ("other-ns", lambda t: f"open:a#{t.user}"), ("prefix", lambda t: f"user:a#{t.user}x")]:
    sub("wire-user-" + n, f"user-limited: {n}", ch, ref="§7,§9")
    sub("wire-user-anon-" + n, f"user-limited, anonymous: {n}", ch, user="", ref="§7,§9")


for n, ns, kw in [("recover", "delta", {"recover": True}), ("recover-lost", "delta", {"recover": True, "epoch": "zz"}), ("not-offered", "recov", {}), ("positioning", "deltao", {}), ("no-position", "deltanp", {})]:
    async def _(t, ns=ns, kw=kw):
        ch, r = t.ch(ns), {}
        for i in range(3):
            r = (await t.api("publish", channel=ch, data={"t": "x" * 200, "n": i})).get("result", {})
        await t.client(claims={"subs": {ch: {}}}, subs={ch: {"delta": "fossil", "offset": 1, "epoch": r.get("epoch", ""), **kw}})
        for i in range(2):
            await t.api("publish", channel=ch, data={"t": "x" * 200, "m": i}, delta=True)
            await t.settle(0.06)
        await t.settle(0.15)
    both("connect-delta-" + n, f"a server-side channel of {ns}, deltas asked: {n}", _, ref="§11,§16")
