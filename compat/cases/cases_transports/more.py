"""What the other files leave out: server-side subscriptions, several commands in a first request, refreshes, limits, preflights, HTTP/2 (§1.1, §1.2, §16)."""
import asyncio
import json
import time
import urllib.parse

import h2.config
import h2.connection
import h2.events

from lib import now
from transports import codec, exchange, frame, raw_ws, transport
from cases_transports.http import connect, emulate, lines, opened, req

UNI = ("usse", "uhs", "uws")


async def uni(t, ep, request, label="A"):
    """A unidirectional client: its pushes land in the lane."""
    text = json.dumps(request, separators=(",", ":"))
    if ep == "uws":
        a = await raw_ws(t, t.path[ep], label=label, log=False)
        if a:
            await a.say(text)
        return a
    return await t.stream(label, "POST", t.path[ep], text.encode(), secs=3)


def case(name, intent, ref="§1.2,§16", inst="a", eps=UNI):
    """One case for each transport, without what differs by form alone."""
    def wrap(fn):
        for ep in eps:
            @transport(f"x-{ep}-{name}", f"{ep}: {intent}", ref, inst)
            async def _(t, ep=ep):
                await fn(t, ep)
                await t.settle(0.35)
                # how a stream begins is the subject of other cases
                t.lanes["A"] = [e for e in t.lane("A") if not ("stream" in e and e["stream"] != "end" or "starts" in e or "socket" in e)]
        return fn
    return wrap


@case("channels", "two channels of the claim channels, a publication in each")
async def _(t, ep):
    a, b = t.ch("open", "a"), t.ch("recov", "b")
    await uni(t, ep, {"token": t.tok(channels=[a, b])})
    await t.settle(0.2)
    for ch in (a, b):
        await t.post("/api/publish", {"channel": ch, "data": {"to": ch.split(":")[0]}})
        await t.settle(0.1)


@case("subs-claim", "the claim subs with data and info; a join with the info")
async def _(t, ep):
    ch = t.ch("jl")
    await uni(t, ep, {"token": t.tok(subs={ch: {"data": {"d": 1}, "info": {"i": 2}, "override": {"presence": {"value": True}}}}, info={"n": "x"})})
    await t.settle(0.2)
    await t.post("/api/presence", {"channel": ch})


@case("recover", "recovery by subs in the connect request", "§1.2,§11")
async def _(t, ep):
    ch = t.ch("recov")
    r = await t.seed(ch, 4)
    await uni(t, ep, {"token": t.tok(channels=[ch]), "subs": {ch: {"recover": True, "offset": 2, "epoch": r.get("epoch", "")}}})


@case("recover-epoch", "recovery with an epoch of another stream", "§1.2,§11")
async def _(t, ep):
    ch = t.ch("recov")
    await t.seed(ch, 4)
    await uni(t, ep, {"token": t.tok(channels=[ch]), "subs": {ch: {"recover": True, "offset": 2, "epoch": "zzzz"}}})


@case("recover-ahead", "recovery from an offset that does not exist yet", "§1.2,§11")
async def _(t, ep):
    ch = t.ch("recov")
    r = await t.seed(ch, 2)
    await uni(t, ep, {"token": t.tok(channels=[ch]), "subs": {ch: {"recover": True, "offset": 9, "epoch": r.get("epoch", "")}}})


@case("recover-nothing", "recovery where nothing was missed", "§1.2,§11")
async def _(t, ep):
    ch = t.ch("recov")
    r = await t.seed(ch, 2)
    await uni(t, ep, {"token": t.tok(channels=[ch]), "subs": {ch: {"recover": True, "offset": 2, "epoch": r.get("epoch", "")}}})


@case("recover-asked", "recovery of a channel that only the request names", "§1.2,§11")
async def _(t, ep):
    ch = t.ch("recov")
    r = await t.seed(ch, 3)
    await uni(t, ep, {"token": t.tok(), "subs": {ch: {"recover": True, "offset": 1, "epoch": r.get("epoch", "")}}})


@case("api-subscribe-twice", "the server API subscribes twice, then unsubscribes from what is not there")
async def _(t, ep):
    ch = t.ch("open")
    await uni(t, ep, {"token": t.tok()})
    await t.settle(0.2)
    for _ in range(2):
        await t.post("/api/subscribe", {"user": t.user, "channel": ch})
        await t.settle(0.15)
    await t.post("/api/unsubscribe", {"user": t.user, "channel": t.ch("open", "other")})


@case("api-subscribe-recover", "the server API subscribes with recover_since", "§16,§17")
async def _(t, ep):
    ch = t.ch("recov")
    r = await t.seed(ch, 3)
    await uni(t, ep, {"token": t.tok()})
    await t.settle(0.2)
    await t.post("/api/subscribe", {"user": t.user, "channel": ch, "recover_since": {"offset": 1, "epoch": r.get("epoch", "")}})


@case("api-refresh-expired", "the server API refreshes to a time that is over", "§3,§17")
async def _(t, ep):
    await uni(t, ep, {"token": t.tok(exp=now(600))})
    await t.settle(0.2)
    await t.post("/api/refresh", {"user": t.user, "expire_at": int(time.time()) - 10})


@case("api-disconnect-default", "the server API disconnects without a code", "§28.4")
async def _(t, ep):
    await uni(t, ep, {"token": t.tok()})
    await t.settle(0.2)
    await t.post("/api/disconnect", {"user": t.user})


@case("tags", "a publication with tags, and one of bytes that are a text", "§1.2")
async def _(t, ep):
    ch = t.ch("open")
    await uni(t, ep, {"token": t.tok(channels=[ch])})
    await t.settle(0.2)
    await t.post("/api/publish", {"channel": ch, "data": {"n": 1}, "tags": {"k": "v"}})
    await t.settle(0.1)
    await t.post("/api/publish", {"channel": ch, "b64data": "eyJuIjoyfQ=="})


@case("limit", "more channels in the token than channel_limit", "§10")
async def _(t, ep):
    await uni(t, ep, {"token": t.tok(channels=[t.ch("open", str(i)) for i in range(13)])})


@case("limit-at", "as many channels in the token as channel_limit", "§10")
async def _(t, ep):
    await uni(t, ep, {"token": t.tok(channels=[t.ch("open", str(i)) for i in range(12)])})


@case("subs-mixed", "subs of which one is not allowed", "§1.2")
async def _(t, ep):
    await uni(t, ep, {"token": t.tok(), "subs": {t.ch("open"): {}, t.ch("deny"): {}, "$" + t.ch("open", "p"): {}}})


@case("anonymous-subs", "an anonymous client and subs", "§1.2")
async def _(t, ep):
    await uni(t, ep, {"subs": {t.ch("open"): {}, "open:own#" + t.run: {}}})


BOTH = ("sse", "hs")


def two_way(name, intent, ref="§1.1", inst="a"):
    return case(name, intent, ref, inst, BOTH)


@two_way("first-several", "connect, subscribe and publish in the first body")
async def _(t, ep):
    ch = t.ch("recov")
    body = lines({"id": 1, "connect": {"token": t.tok()}}, {"id": 2, "subscribe": {"channel": ch}}, {"id": 3, "publish": {"channel": ch, "data": {"n": 1}}})
    await t.stream("A", "POST", t.path[ep], body.encode(), secs=3)


@two_way("first-no-connect", "a first body without connect")
async def _(t, ep):
    await t.stream("A", "POST", t.path[ep], lines({"id": 2, "subscribe": {"channel": t.ch("open")}}).encode(), secs=3)


@two_way("first-twice", "two connects in the first body")
async def _(t, ep):
    await t.stream("A", "POST", t.path[ep], lines({"id": 1, "connect": {"token": t.tok()}}, {"id": 2, "connect": {"token": t.tok()}}).encode(), secs=3)


@two_way("first-empty-line", "an empty line between two commands")
async def _(t, ep):
    await t.stream("A", "POST", t.path[ep], (connect(t, ep) + "\n\n" + lines({"id": 2, "presence": {"channel": "jl:zz"}})).encode(), secs=3)


@two_way("serverside", "channels of the token, the server API subscribes and unsubscribes", "§1.1,§16")
async def _(t, ep):
    ch, other = t.ch("recov"), t.ch("jl")
    await t.stream("A", "POST", t.path[ep], json.dumps({"id": 1, "connect": {"token": t.tok(channels=[ch])}}).encode(), secs=3)
    await t.post("/api/publish", {"channel": ch, "data": {"n": 1}})
    await t.settle(0.1)
    await t.post("/api/subscribe", {"user": t.user, "channel": other})
    await t.settle(0.2)
    await t.post("/api/unsubscribe", {"user": t.user, "channel": other})


@two_way("serverside-recover", "recovery of a server-side subscription in connect", "§1.1,§11")
async def _(t, ep):
    ch = t.ch("recov")
    r = await t.seed(ch, 3)
    await t.stream("A", "POST", t.path[ep], json.dumps({"id": 1, "connect": {"token": t.tok(channels=[ch]), "subs": {ch: {"recover": True, "offset": 1, "epoch": r.get("epoch", "")}}}}).encode(), secs=3)


@two_way("refresh", "a refresh by a bad token, by an expired one, by a good one", "§1.1,§3")
async def _(t, ep):
    f = await opened(t, ep, secs=3)
    await emulate(t, f, lines({"id": 2, "refresh": {"token": t.tok(exp=now(600))}}))
    await t.settle(0.1)
    await emulate(t, f, lines({"id": 3, "refresh": {"token": t.tok(exp=now(-60))}}))
    await t.settle(0.1)
    await emulate(t, f, lines({"id": 4, "refresh": {"token": "zz"}}))


@two_way("subscribe-token", "a private channel with its token, with another's, and without", "§1.1,§5")
async def _(t, ep):
    a, b, c = (t.ch("deny", n) for n in "abc")
    f = await opened(t, ep, secs=3)
    await emulate(t, f, lines({"id": 2, "subscribe": {"channel": a, "token": t.subtok(a)}}))
    await t.settle(0.1)
    await emulate(t, f, lines({"id": 3, "subscribe": {"channel": b}}))
    await t.settle(0.1)
    await emulate(t, f, lines({"id": 4, "subscribe": {"channel": c, "token": t.subtok(b)}}))


@two_way("other-user", "commands with another client's session and one's own node reach that client alone")
async def _(t, ep):
    f = await opened(t, ep, secs=3)
    g = await opened(t, ep, lane="B", secs=3)
    t.lanes["B"] = []
    await emulate(t, g, lines({"id": 2, "presence": {"channel": "jl:zz"}}))
    await t.settle(0.2)
    t.note("other", [x for x in g if x.get("id") == 2])
    t.note("own", [x for x in f if x.get("id") == 2])


@two_way("disconnect-code", "a disconnect of one's own code, then a command", "§28.4")
async def _(t, ep):
    f = await opened(t, ep, secs=3)
    await t.post("/api/disconnect", {"user": t.user, "disconnect": {"code": 4100, "reason": "again"}})
    await t.settle(0.2)
    await emulate(t, f, lines({"id": 2, "presence": {"channel": "jl:zz"}}))


@transport("x-hs-protobuf-emulation", "commands in Protobuf to a Protobuf stream", "§1.1")
async def _(t):
    octet = {"Content-Type": "application/octet-stream"}
    f = await t.stream("A", "POST", t.path["hs"], codec.frame({"id": 1, "connect": {"token": t.tok()}}), headers=octet, pb=True)
    c = (f[0].get("connect") or {}) if f else {}
    ch = t.ch("recov")
    for command in ({"id": 2, "subscribe": {"channel": ch}}, {"id": 3, "publish": {"channel": ch, "data": {"n": 1}}}):
        await t.post(t.path["emu"], field(1, c.get("node", "")) + field(2, c.get("session", "")) + field(3, codec.frame(command)), octet, key=False, lane="emu")
        await t.settle(0.1)
    await t.settle(0.2)


def field(number, value):
    """A field of a Protobuf message: a text or bytes of less than 16 KiB."""
    value = value.encode() if isinstance(value, str) else value
    n = len(value)
    return bytes([number << 3 | 2]) + (bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])) + value


# Preflights and origins
for ep in ("hs", "emu", "uhs", "sse", "usse", "init"):
    for n, h in (("empty-origin", "Origin: \r\n"), ("two-origins", "Origin: https://ok.example\r\nOrigin: https://evil.example\r\n"), ("method-put", "Origin: https://ok.example\r\nAccess-Control-Request-Method: PUT\r\n"), ("no-headers", "Origin: https://ok.example\r\nAccess-Control-Request-Method: POST\r\n")):
        @transport(f"x-preflight-{ep}-{n}", f"preflight of {ep}: {n}", "§1.1")
        async def _(t, ep=ep, h=h):
            await exchange(t, "A", req("OPTIONS", t.path[ep], h))


# HTTP/2 without TLS
async def over_h2(t, ep, body=None, method="POST", path=None, headers=(), secs=0.8, lane="A"):
    host, port = t.target.rsplit(":", 1)
    r, w = await asyncio.open_connection(host, int(port))
    c = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True))
    c.initiate_connection()
    stream = c.get_next_available_stream_id()
    c.send_headers(stream, [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path or t.path[ep]), *headers], end_stream=body is None)
    if body is not None:
        c.send_data(stream, body, end_stream=True)
    w.write(c.data_to_send())
    data, end, stop = b"", None, asyncio.get_running_loop().time() + secs
    while end is None:
        try:
            more = await asyncio.wait_for(r.read(65536), max(0.01, stop - asyncio.get_running_loop().time()))
        except asyncio.TimeoutError:
            break
        if not more:
            end = "closed"
            break
        for e in c.receive_data(more):
            if isinstance(e, h2.events.ResponseReceived):
                got = {k.decode() if isinstance(k, bytes) else k: v.decode() if isinstance(v, bytes) else v for k, v in e.headers}
                t.lane(lane).append({"status": got[":status"], **{k: got[k] for k in ("content-type", "cache-control", "x-accel-buffering") if k in got}})
            elif isinstance(e, h2.events.DataReceived):
                data += e.data
                c.acknowledge_received_data(e.flow_controlled_length, e.stream_id)
            elif isinstance(e, h2.events.StreamEnded):
                end = "end"
            elif isinstance(e, h2.events.StreamReset):
                end = f"reset {e.error_code}"
        w.write(c.data_to_send())
    found = []
    for x in data.decode("utf-8", "replace").split("\n"):
        x = x.strip().removeprefix("data: ")
        if x and x != "{}":
            try:
                f = json.loads(x)
            except ValueError:
                f = {"text": x[:100]}
            body = f.get("connect") or f if isinstance(f, dict) else {}
            if isinstance(body, dict) and body.get("client"):
                t.ids[body["client"]] = f"<{lane}>"
            found.append(f)
            t.lane(lane).append({"body": f})
    if end:
        t.lane(lane).append({"ends": end})
    w.close()
    return found


@transport("x-h2-head", "HEAD by HTTP/2: the head of the answer and no body", "§22")
async def _(t):
    await over_h2(t, "", method="HEAD", path="/nope")


for ep in ("sse", "hs", "usse", "uhs"):
    @transport(f"x-h2-{ep}", f"{ep} by HTTP/2", "§1.1,§22")
    async def _(t, ep=ep):
        await over_h2(t, ep, connect(t, ep).encode())

    @transport(f"x-h2-{ep}-invalid", f"{ep} by HTTP/2: an invalid token", "§1.1,§22")
    async def _(t, ep=ep):
        await over_h2(t, ep, connect(t, ep).replace(t.tok(), "zz").encode())

    @transport(f"x-h2-{ep}-put", f"{ep} by HTTP/2: PUT", "§1.1,§22")
    async def _(t, ep=ep):
        await over_h2(t, ep, b"{}", "PUT")

for ep in ("sse", "usse"):
    @transport(f"x-h2-{ep}-get", f"{ep} by HTTP/2: GET with cf_connect", "§1.1,§22")
    async def _(t, ep=ep):
        await over_h2(t, ep, None, "GET", t.path[ep] + "?cf_connect=" + urllib.parse.quote(connect(t, ep)))


@transport("x-h2-emu", "emulation by HTTP/2", "§1.1,§22")
async def _(t):
    f = await opened(t, "hs", secs=3)
    c = (f[0].get("connect") or {}) if f else {}
    body = {"session": c.get("session", ""), "node": c.get("node", ""), "data": lines({"id": 2, "presence": {"channel": "jl:zz"}})}
    await over_h2(t, "emu", json.dumps(body).encode(), lane="emu")
    await t.settle(0.2)


# several connections of one page: HTTP/1.1 with keep-alive in front of a stream
for ep in ("sse", "hs", "usse", "uhs"):
    @transport(f"x-keepalive-{ep}", f"{ep}: behind another request of the connection", "§1.1,§22")
    async def _(t, ep=ep):
        host, port = t.target.rsplit(":", 1)
        r, w = await asyncio.open_connection(host, int(port))
        w.write(req("GET", t.path["init"]))
        head = await r.readuntil(b"\r\n\r\n")
        await r.readexactly(2)
        w.write(req("POST", t.path[ep], "", connect(t, ep)))
        second = await asyncio.wait_for(r.readuntil(b"\r\n\r\n"), 2)
        t.note("statuses", [x.split(b" ")[1].decode() for x in (head, second)])
        t.note("object", b'"client"' in await asyncio.wait_for(r.readuntil(b"}"), 2))
        w.close()
