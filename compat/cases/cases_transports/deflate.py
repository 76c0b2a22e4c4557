"""permessage-deflate as RFC 7692 has it: offers, what is compressed, and what comes in (§1.1)."""
import json
import zlib

from transports import BINARY, CONT, PING, TEXT, deflate, frame, raw_ws, transport

PLAIN = "permessage-deflate"
CMD = '{"id":5,"presence":{"channel":"jl:zz"}}'

for how in ("ws", "uws"):
    for n, offer in [("plain", PLAIN), ("bits", f"{PLAIN}; client_max_window_bits"), ("takeover", f"{PLAIN}; server_no_context_takeover; client_no_context_takeover"), ("spaces", f"  {PLAIN} ;  client_max_window_bits"),
                     ("second", f"x-webkit-deflate-frame, {PLAIN}"), ("lines", ["foo; bar=1", PLAIN]), ("twice", f"{PLAIN}; client_max_window_bits, {PLAIN}"), ("other", "x-webkit-deflate-frame"), ("client-bits", f"{PLAIN}; client_max_window_bits=10"), ("quoted", f'{PLAIN}; client_max_window_bits="10"')]:
        for inst in "abc":
            @transport(f"deflate-offer-{how}-{n}-{inst}", f"{how}, instance {inst}: {offer}", "§1.1", inst)
            async def _(t, offer=offer, how=how):
                a = await raw_ws(t, t.path[how], ext=offer)
                if a:
                    await t.settle(0.05)
for n, offer in [("server-bits-8", "server_max_window_bits=8"), ("server-bits-9", "server_max_window_bits=9"), ("server-bits-12", "server_max_window_bits=12"), ("server-bits-15", "server_max_window_bits=15"), ("server-bits-16", "server_max_window_bits=16"), ("unknown", "foo"), ("value", "server_no_context_takeover=1"), ("double", "client_no_context_takeover; client_no_context_takeover")]:
    @transport(f"deflate-offer-ws-odd-{n}", offer, "§1.1")
    async def _(t, offer=offer):
        a = await raw_ws(t, t.path["ws"], ext=f"{PLAIN}; {offer}")
        if a:
            await t.settle(0.05)


async def opened(t, inst="a", how="ws"):
    a = await raw_ws(t, t.path[how], ext=PLAIN, log=False)
    if a is None:
        return None
    a.plain = False
    if how == "ws":
        await a.cmd(1, "connect", token=t.tok())
    else:
        await a.say({"token": t.tok()})
        await a.until(lambda f: isinstance(f, dict) and "connect" in f, 1, "connect")
    return a


for inst in "ab":
    for size in (1, 150, 157, 158, 159, 160, 400, 3000):
        @transport(f"deflate-out-{size}-{inst}", f"a publication with {size} bytes of data, instance {inst}: which are compressed", "§1.1", inst)
        async def _(t, size=size, inst=inst):
            ch = t.ch("open")
            a = await opened(t, inst)
            if a is None:
                return
            await a.cmd(2, "subscribe", channel=ch)
            await t.post("/api/publish", {"channel": ch, "data": "x" * size})
            await a.until(lambda f: isinstance(f, dict) and "push" in f, 2, "push")
            await t.settle(0.05)


def sent(name, intent, *frames, inst="a", wait=0.6, how="ws"):
    @transport("deflate-in-" + name, intent, "§1.1", inst)
    async def _(t):
        a = await opened(t, inst, how)
        if a is None:
            return
        a.plain = True
        await a.put(*(f() if callable(f) else f for f in frames))
        await a.ended(wait)


packed = deflate(CMD.encode())
sent("command", "a compressed command", frame(TEXT, packed, rsv=4))
sent("uncompressed", "a command as it is", frame(TEXT, CMD))
sent("level-0", "a block that is not compressed", frame(TEXT, deflate(CMD.encode(), level=0), rsv=4))
sent("level-9", "the best level", frame(TEXT, deflate(CMD.encode(), level=9), rsv=4))
sent("small-window", "a window of 512 bytes", frame(TEXT, deflate(CMD.encode(), wbits=-9), rsv=4))
sent("binary", "a compressed binary message", frame(BINARY, packed, rsv=4))
sent("two", "two commands in a message", frame(TEXT, deflate((CMD + "\n" + CMD.replace("5", "6", 1)).encode()), rsv=4))
sent("fragmented", "in two frames", frame(TEXT, packed[:9], fin=False, rsv=4), frame(CONT, packed[9:]))
sent("fragmented-ping", "a ping between", frame(TEXT, packed[:9], fin=False, rsv=4), frame(PING, b"p"), frame(CONT, packed[9:]))
sent("fragmented-empty", "an empty first frame", frame(TEXT, b"", fin=False, rsv=4), frame(CONT, packed))
sent("fragmented-bit", "the bit on a continuation", frame(TEXT, packed[:9], fin=False, rsv=4), frame(CONT, packed[9:], rsv=4))
sent("fragmented-late-bit", "the bit on a continuation alone", frame(TEXT, packed[:9], fin=False), frame(CONT, packed[9:], rsv=4))
sent("bit-on-ping", "the bit on a ping", frame(PING, b"p", rsv=4))
sent("rsv2", "another bit", frame(TEXT, packed, rsv=2))
sent("rsv1-and-2", "both bits", frame(TEXT, packed, rsv=6))
sent("garbage", "what does not inflate", frame(TEXT, b"hello world", rsv=4))
sent("cut", "half of a message", frame(TEXT, packed[:len(packed) // 2], rsv=4))
sent("empty-payload", "no bytes", frame(TEXT, b"", rsv=4))
sent("bad-utf8", "text that is no UTF-8", frame(TEXT, deflate(b'{"id":5,"presence":{"channel":"jl:\xff"}}'), rsv=4))
sent("bad-json", "text that is no command", frame(TEXT, deflate(b"hello"), rsv=4))
sent("final-block", "a last block", frame(TEXT, deflate(CMD.encode(), final=True), rsv=4))
sent("over-wire", "more than the limit as it comes in", lambda: frame(TEXT, deflate(__import__("os").urandom(70000), level=0), rsv=4), wait=1)
for inst, how, limit in (("a", "ws", 655360), ("b", "ws", 20000), ("b", "uws", 4000)):
    for more in (0, 1):
        @transport(f"deflate-limit-{how}-{inst}-{more}", f"{how}, instance {inst}: {limit} bytes and {more}", "§1.1", inst)
        async def _(t, inst=inst, how=how, size=limit + more):
            a = await raw_ws(t, t.path[how], ext=PLAIN, log=False)
            if a is None:
                return
            body = json.dumps({"id": 1, "connect": {"token": t.tok()}} if how == "ws" else {"token": t.tok()})
            await a.put(frame(TEXT, deflate(body.encode() + b" " * (size - len(body)), level=9), rsv=4))
            await t.settle(0.3)
            await a.ended(0.6)


@transport("deflate-uws-live", "uni_websocket: pushes, each compressed", "§1.2")
async def _(t):
    ch = t.ch("open")
    a = await raw_ws(t, t.path["uws"], ext=PLAIN, log=False)
    if a is None:
        return
    a.plain = False
    await a.say({"token": t.tok(channels=[ch])})
    await a.until(lambda f: isinstance(f, dict) and "connect" in f, 1, "connect")
    for n in range(3):
        await t.post("/api/publish", {"channel": ch, "data": {"n": n}})
    await t.settle(0.3)
