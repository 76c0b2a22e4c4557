"""Legacy clients: server-side subscriptions, both versions of the protocol in one channel, expiry, the end of a connection (§5, §16, §29.6)."""
import asyncio
import os

from legacy import api, legacy, open_v1, private, publish, v1
from lib import now


# --- server-side subscriptions ------------------------------------------------------------------------------------------

def served(name, intent, ns="open", wait=0.2, claims=None, **kw):
    """A client whose token makes a subscription; then what the decorated steps do."""
    def take(steps):
        @legacy("served-" + name, intent, **kw)
        async def _(t):
            ch = t.ch(ns)
            a = await v1(t, claims=claims(ch) if claims else {"channels": [ch]})
            await steps(t, a, ch)
            await t.settle(wait)
        return steps
    return take


@served("publication", "a publication comes without a subscribe")
async def _(t, a, ch):
    await publish(t, ch, 2)


@served("history", "publications with positions", ns="hist")
async def _(t, a, ch):
    await publish(t, ch, 2)
    await t.settle(0.1)
    await a.hist(ch, limit=10)


@served("recoverable", "position and epoch in subs of the connect reply", ns="recov")
async def _(t, a, ch):
    await publish(t, ch, 2)


@served("presence", "it is in the presence", ns="pres")
async def _(t, a, ch):
    await t.settle(0.1)
    await a.pres(ch)
    await a.stats(ch)


@served("join", "its join is announced, to itself too", ns="jl")
async def _(t, a, ch):
    await t.settle(0.2)


@served("publish", "a client publishes into it", ns="pub")
async def _(t, a, ch):
    await a.pub(ch, {"x": 1})


@served("subscribe", "a subscribe to it: 105")
async def _(t, a, ch):
    await a.sub(ch)


@served("beside", "beside it a subscription of the client's own")
async def _(t, a, ch):
    await a.sub(t.ch("open", "own-"))
    await publish(t, ch)
    await publish(t, t.ch("open", "own-"))


@served("unsubscribe-api", "ended by the API: an unsub push")
async def _(t, a, ch):
    await api(t, "unsubscribe", user=t.user, channel=ch)
    await t.settle(0.1)
    await publish(t, ch)


@served("subs-claim", "the claim subs", claims=lambda ch: {"subs": {ch: {}}})
async def _(t, a, ch):
    await publish(t, ch)


@served("subs-info", "info in the claim subs is chan_info", ns="pres", claims=lambda ch: {"subs": {ch: {"info": {"role": "x"}}}})
async def _(t, a, ch):
    await t.settle(0.1)
    await a.pres(ch)


@served("subs-data", "data in the claim subs is in the reply", claims=lambda ch: {"subs": {ch: {"data": {"hello": 1}}}})
async def _(t, a, ch):
    await publish(t, ch)


@served("unknown-in-subs", "a subscription by subs into an unknown namespace", claims=lambda ch: {"subs": {"nope:x": {}}})
async def _(t, a, ch):
    pass


def act(name, intent, ns="open", wait=0.2, user=None, **kw):
    """A connected client, and what the server does to it."""
    def take(steps):
        @legacy("act-" + name, intent, **kw)
        async def _(t):
            a = await v1(t, user)
            await steps(t, a, t.ch(ns))
            await t.settle(wait)
        return steps
    return take


async def subscribe(t, ch, **kw):
    await api(t, "subscribe", user=t.user, channel=ch, **kw)
    await t.settle(0.15)


@act("subscribe", "the API subscribes: a sub push, then a publication")
async def _(t, a, ch):
    await subscribe(t, ch)
    await publish(t, ch)


@act("subscribe-recoverable", "into a recoverable channel with publications", ns="recov")
async def _(t, a, ch):
    await publish(t, ch, 2)
    await subscribe(t, ch)
    await publish(t, ch, start=3)


@act("subscribe-twice", "twice")
async def _(t, a, ch):
    await subscribe(t, ch)
    await subscribe(t, ch)
    await publish(t, ch)


@act("subscribe-data", "with data")
async def _(t, a, ch):
    await subscribe(t, ch, data={"hello": 1})


@act("subscribe-then-unsubscribe", "the API subscribes and unsubscribes")
async def _(t, a, ch):
    await subscribe(t, ch)
    await api(t, "unsubscribe", user=t.user, channel=ch)
    await t.settle(0.15)
    await publish(t, ch)


@act("subscribe-presence", "in the presence", ns="pres")
async def _(t, a, ch):
    await subscribe(t, ch)
    await a.pres(ch)


@act("subscribe-then-client", "then the client subscribes: 105")
async def _(t, a, ch):
    await subscribe(t, ch)
    await a.sub(ch)


@act("unsubscribe-own", "a subscription of the client's is ended by the API")
async def _(t, a, ch):
    await a.sub(ch)
    await api(t, "unsubscribe", user=t.user, channel=ch)
    await t.settle(0.15)
    await publish(t, ch)
    await a.sub(ch)
    await publish(t, ch, start=2)


@act("two-connections", "both connections of a user")
async def _(t, a, ch):
    await v1(t)
    await subscribe(t, ch)
    await publish(t, ch)


@act("disconnect", "disconnect by the API: no reconnect")
async def _(t, a, ch):
    await a.sub(ch)
    await api(t, "disconnect", user=t.user)
    await a.closed(1)


# --- both versions in one channel ----------------------------------------------------------------------------------------

# Servers of that time answer A the same for any B: their answers are recorded with a B of that time, too.
RECORDING = os.environ.get("LEGACY_RECORDING") == "1"


def eras(name, intent, ns="open"):
    """A speaks version 1, B today's; what the steps do is shown on the lane of A alone."""
    def take(steps):
        @legacy("eras-" + name, intent)
        async def _(t):
            a = await v1(t, claims={"info": {"n": "A"}})
            user, info = "b-" + t.user, {"info": {"n": "B"}}
            b = await v1(t, user, claims=info) if RECORDING else await t.client(user, claims=info)
            await steps(t, a, b, t.ch(ns))
            await t.settle(0.2)
            b.lane.clear()
        return steps
    return take


def pubs(b):
    """Data of the publications that B has received, in either version."""
    old = [f["result"]["data"]["data"] for f in b.frames if not f.get("id") and "result" in f and not f["result"].get("type")]
    return old + [f["push"]["pub"]["data"] for f in b.frames if "pub" in f.get("push", {})]


@eras("publish-by-api", "the same publication for both")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await publish(t, ch, 2)
    await t.settle(0.2)
    t.note("B has", len(pubs(b)))


@eras("publish-by-today", "what a client of today publishes", ns="pub")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await b.pub(ch, {"from": "B"})


@eras("publish-by-old", "what an old client publishes", ns="pub")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await a.pub(ch, {"from": "A"})
    await t.settle(0.2)
    t.note("B has", len(pubs(b)))


@eras("history", "one history of both", ns="hist")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await b.pub(ch, {"n": 1})
    await a.pub(ch, {"n": 2})
    await a.hist(ch, limit=10)


@eras("presence", "both are in the presence", ns="pres")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await t.settle(0.15)
    await a.pres(ch)
    await a.stats(ch)


@eras("join", "the joins and leaves of a client of today", ns="jl")
async def _(t, a, b, ch):
    await a.sub(ch)
    await t.settle(0.15)
    await b.sub(ch)
    await t.settle(0.15)
    await b.unsub(ch)
    await t.settle(0.15)


@eras("gone", "a client of today goes", ns="jl")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await t.settle(0.2)
    b.ws.transport.abort()
    await t.settle(0.3)


@eras("recover", "an old client recovers what a client of today has published", ns="recov")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.pub(ch, {"n": 1})
    await t.settle(0.1)
    a.ws.transport.abort()
    await b.pub(ch, {"n": 2})
    await b.pub(ch, {"n": 3})
    c = await v1(t, label="C")
    await c.sub(ch, **a.resume(ch))


@eras("unicode", "a publication of other letters", ns="pub")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.pub(ch, {"t": "é✓😀\u2028"})


@eras("large", "a publication of 30 KB", ns="pub")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.pub(ch, {"t": "x" * 30_000})


@eras("deltas", "a client of today has deltas, an old one what was published", ns="pub")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch, **({} if RECORDING else {"delta": "fossil"}))
    for i in range(3):
        await b.pub(ch, {"text": "much of it is the same from one to the next", "i": i})
    await t.settle(0.2)
    t.note("B has", len(pubs(b)))


@eras("tags", "tags of a publication", ns="pub")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await api(t, "publish", channel=ch, data={"n": 1}, tags={"k": "v"})


@eras("disconnect", "a disconnect of the one does not concern the other")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await api(t, "disconnect", user="b-" + t.user)
    await t.settle(0.2)
    t.note("B is closed", b.is_closed)
    await publish(t, ch)


@eras("unsubscribe", "a subscription of the one is ended")
async def _(t, a, b, ch):
    await a.sub(ch)
    await b.sub(ch)
    await api(t, "unsubscribe", user="b-" + t.user, channel=ch)
    await t.settle(0.2)
    await publish(t, ch)
    await t.settle(0.2)
    t.note("B has", len(pubs(b)))


# --- expiry --------------------------------------------------------------------------------------------------------------

@legacy("timer-expires", "a login that expires is closed after the grace")
async def _(t):
    a = await v1(t, claims={"exp": now(2)})
    await a.closed(6)


@legacy("timer-refreshed", "refreshed within the grace, it goes on")
async def _(t):
    a = await v1(t, claims={"exp": now(2)})
    await t.settle(1)
    await a.refresh(t.tok(exp=now(600)))
    await a.closed(3.5)


@legacy("timer-sub-expires", "a private subscription expires: the connection is closed")
async def _(t):
    a = await v1(t)
    ch = "$" + t.ch("open")
    await a.sub(ch, token=private(a, ch, exp=now(2)))
    await a.closed(6)


@legacy("timer-sub-refreshed", "refreshed in time, it goes on")
async def _(t):
    a = await v1(t)
    ch = "$" + t.ch("open")
    await a.sub(ch, token=private(a, ch, exp=now(2)))
    await t.settle(1)
    await a.sub_refresh(ch, private(a, ch, exp=now(600)))
    await a.closed(3.5)
    await publish(t, ch)
    await t.settle(0.2)


@legacy("timer-sub-unsubscribed", "one that is given up expires no more")
async def _(t):
    a = await v1(t)
    ch = "$" + t.ch("open")
    await a.sub(ch, token=private(a, ch, exp=now(2)))
    await a.unsub(ch)
    await a.closed(4.5)


@legacy("expire-at", "expire_at goes before exp")
async def _(t):
    await v1(t, claims={"exp": now(30), "expire_at": now(300)})


@legacy("expire-at-zero", "expire_at 0: only the token expires")
async def _(t):
    await v1(t, claims={"exp": now(30), "expire_at": 0})


# --- the connection ------------------------------------------------------------------------------------------------------

@legacy("ping-many", "pings between other commands are answered in order")
async def _(t):
    a = await v1(t)
    await a.send(a.command("ping", None, 10), a.command("subscribe", {"channel": t.ch("open")}, 11), a.command("ping", {}, 12))
    await a.reply(12)


@legacy("reconnect", "two connections after each other, with the same subscription")
async def _(t):
    ch = t.ch("open")
    a = await v1(t)
    await a.sub(ch)
    a.ws.transport.abort()
    b = await v1(t)
    await b.sub(ch)
    await publish(t, ch)
    await t.settle(0.15)


@legacy("close-by-client", "the client closes")
async def _(t):
    a = await v1(t)
    await a.ws.close(1000, "bye")
    await a.closed(1)


@legacy("many-channels", "twelve channels in one frame")
async def _(t):
    a = await v1(t)
    channels = [t.ch("open", f"{i}-") for i in range(12)]
    await a.send(*(a.command("subscribe", {"channel": ch}, 10 + i) for i, ch in enumerate(channels)))
    await a.reply(21)
    await publish(t, channels[0])
    await publish(t, channels[11])
    await t.settle(0.15)


@legacy("anonymous-twice", "two anonymous clients in one channel")
async def _(t):
    a, b = await v1(t, ""), await v1(t, "")
    ch = t.ch("pub")
    await a.sub(ch)
    await b.sub(ch)
    await a.pub(ch, {"x": 1})
    await t.settle(0.15)


@legacy("login-late", "a login after a second of silence")
async def _(t):
    a = await open_v1(t)
    if a:
        await asyncio.sleep(1)
        await a.send(a.command("connect", {"token": t.tok()}, 1))
        await a.reply(1)
