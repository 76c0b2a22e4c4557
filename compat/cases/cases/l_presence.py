"""Presence, its statistics, join and leave, also while clients come and go (§15)."""
from lib import add, case


async def gone(t, *conns):
    """Closes sockets and waits until the server knows."""
    for c in conns:
        await c.ws.close()
    await t.settle(0.25)


@case("presence-one", "who is there: oneself", "§15")
async def _(t):
    a, ch = await t.client(claims={"info": {"name": "A"}}), t.ch("pres")
    await a.sub(ch)
    await a.pres(ch)
    await a.stats(ch)


@case("presence-none", "nobody there", "§15")
async def _(t):
    a, ch = await t.client(), t.ch("pres")
    await a.pres(ch)
    await a.stats(ch)


@case("presence-two-users", "two users", "§15")
async def _(t):
    a, b, ch = await t.client("ann-" + t.tag()), await t.client("ben-" + t.tag()), t.ch("pres")
    await a.sub(ch)
    await b.sub(ch)
    await b.stats(ch)
    await t.api("presence_stats", channel=ch)
    await t.api("presence", channel=ch)


@case("presence-two-connections", "one user on two connections: two clients, one user", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("pres")
    await a.sub(ch)
    await b.sub(ch)
    await a.stats(ch)


@case("presence-anonymous", "anonymous clients count as one user", "§15")
async def _(t):
    a, b, ch = await t.client(""), await t.client(""), t.ch("presanon")
    await a.sub(ch)
    await b.sub(ch)
    await a.stats(ch)
    await t.api("presence_stats", channel=ch)


@case("presence-after-unsubscribe", "gone after unsubscribe", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("pres")
    await a.sub(ch)
    await b.sub(ch)
    await a.unsub(ch)
    await b.stats(ch)


@case("presence-after-close", "gone after the connection", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("pres")
    await a.sub(ch)
    await b.sub(ch)
    await gone(t, a)
    await b.stats(ch)
    await b.pres(ch)


@case("presence-reconnect", "gone, and there again under another id", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client("watcher-" + t.tag()), t.ch("pres")
    await a.sub(ch)
    await b.sub(ch)
    await gone(t, a)
    c = await t.client()
    await c.sub(ch)
    await b.stats(ch)
    await b.pres(ch)


@case("presence-reconnect-overlap", "the new connection comes before the old one ends", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client("watcher-" + t.tag()), t.ch("pres")
    await b.sub(ch)
    await a.sub(ch)
    c = await t.client()
    await c.sub(ch)
    await b.stats(ch)
    await gone(t, a)
    await b.stats(ch)


@case("presence-flapping", "subscribe and unsubscribe ten times in one frame: nobody is left over", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("presno")
    i = 1
    for _i in range(10):
        i += 2
        await a.send({"id": i, "subscribe": {"channel": ch}}, {"id": i + 1, "unsubscribe": {"channel": ch}})
    await a.reply(i + 1)
    await b.sub(ch)
    await t.api("presence_stats", channel=ch)


@case("presence-refreshed", "still there after presence_update_interval", "§10,§15")
async def _(t):
    a, ch = await t.client(), t.ch("pres")
    await a.sub(ch)
    await t.settle(2.2)
    await a.stats(ch)


@case("presence-chan-info", "info of the subscription token beside that of the connection", "§5,§15")
async def _(t):
    a, ch = await t.client(claims={"info": {"c": 1}}), t.ch("pres")
    await a.sub(ch, token=t.subtok(ch, info={"s": 2}))
    await a.pres(ch)


@case("presence-conn-info-only", "subscription token without info", "§5,§15")
async def _(t):
    a, ch = await t.client(claims={"info": {"c": 1}}), t.ch("pres")
    await a.sub(ch, token=t.subtok(ch))
    await a.pres(ch)


@case("presence-no-info", "no info anywhere", "§15")
async def _(t):
    a, ch = await t.client(), t.ch("pres")
    await a.sub(ch)
    await t.api("presence", channel=ch)


def asked(name, intent, ns, user=None, subscribe=False, ref="§9,§15"):
    async def go(t):
        a, ch = await t.client(user), t.ch(ns)
        if subscribe:
            await a.sub(ch)
        await a.pres(ch)
        await a.stats(ch)
    add("presence-asked-" + name, intent, ref, go)


asked("off", "namespace without presence: 108", "open")
asked("jlonly", "join_leave without presence: 108", "jlonly")
asked("subscriber-out", "for subscribers, not subscribed: 103", "presub")
asked("subscriber-in", "for subscribers, subscribed", "presub", subscribe=True)
asked("nobody", "allowed to nobody: 103", "presno", subscribe=True)
asked("anonymous", "anonymous where clients may: 103", "pres", user="")
asked("anonymous-allowed", "anonymous where anonymous may", "presanon", user="")


@case("presence-asked-bad", "unknown namespace, empty, long, private", "§7,§15")
async def _(t):
    a = await t.client()
    await a.pres("nope:x")
    await a.stats("nope:x")
    await a.pres("pres:" + "x" * 300)
    await a.pres("$pres:x")
    await a.pres("")


# --- join and leave -------------------------------------------------------------------------------

@case("join-asked", "who asks for join_leave gets them, of others and of oneself", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client("other-" + t.tag(), claims={"info": {"n": 1}}), t.ch("pres")
    await a.sub(ch, join_leave=True)
    await t.settle(0.15)
    await b.sub(ch)
    await t.settle(0.15)
    await b.unsub(ch)
    await t.settle(0.2)


@case("join-not-asked", "who does not ask gets none", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("pres")
    await a.sub(ch)
    await b.sub(ch)
    await b.unsub(ch)
    await t.settle(0.2)


@case("join-forced", "force_push_join_leave", "§8,§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("jlforce")
    await a.sub(ch)
    await t.settle(0.15)
    await b.sub(ch)
    await t.settle(0.15)
    await gone(t, b)


@case("join-no-permission", "join_leave asked without the right to presence", "§9,§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("presno")
    await a.sub(ch, join_leave=True)
    await b.sub(ch)
    await b.unsub(ch)
    await t.settle(0.2)


@case("join-subscriber", "join_leave asked with the right of a subscriber", "§9,§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("presub")
    await a.sub(ch, join_leave=True)
    await t.settle(0.15)
    await b.sub(ch)
    await t.settle(0.2)


@case("join-not-offered", "join_leave asked where the namespace has none", "§8,§15")
async def _(t):
    a, b, ch = await t.client(), await t.client(), t.ch("open")
    await a.sub(ch, join_leave=True)
    await b.sub(ch)
    await t.settle(0.2)


@case("leave-on-close", "a leave when the connection ends", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client("other-" + t.tag()), t.ch("pres")
    await a.sub(ch, join_leave=True)
    await b.sub(ch)
    await t.settle(0.15)
    await gone(t, b)


@case("leave-on-disconnect", "a leave when the API disconnects", "§15,§17.2")
async def _(t):
    a, b, ch = await t.client(), await t.client("other-" + t.tag()), t.ch("pres")
    await a.sub(ch, join_leave=True)
    await b.sub(ch)
    await t.settle(0.15)
    await t.api("disconnect", user="other-" + t.tag())
    await b.closed()
    await t.settle(0.2)


@case("leave-on-api-unsubscribe", "a leave when the API unsubscribes", "§15,§17.2")
async def _(t):
    a, b, ch = await t.client(), await t.client("other-" + t.tag()), t.ch("pres")
    await a.sub(ch, join_leave=True)
    await b.sub(ch)
    await t.settle(0.15)
    await t.api("unsubscribe", user="other-" + t.tag(), channel=ch)
    await t.settle(0.2)


@case("join-reconnect", "leave and join of a client that comes again", "§15")
async def _(t):
    a, b, ch = await t.client(), await t.client("other-" + t.tag()), t.ch("pres")
    await a.sub(ch, join_leave=True)
    await b.sub(ch)
    await t.settle(0.15)
    await gone(t, b)
    c = await t.client("other-" + t.tag())
    await c.sub(ch)
    await t.settle(0.2)


@case("join-server-side", "a server-side subscription joins as well", "§15,§16")
async def _(t):
    ch = t.ch("pres")
    a = await t.client()
    await a.sub(ch, join_leave=True)
    await t.settle(0.15)
    b = await t.client("other-" + t.tag(), claims={"channels": [ch]})
    await t.settle(0.15)
    await gone(t, b)


@case("join-chan-info", "a join has the info of the subscription token", "§5,§15")
async def _(t):
    a, b, ch = await t.client(), await t.client("other-" + t.tag()), t.ch("pres")
    await a.sub(ch, join_leave=True)
    await t.settle(0.15)
    await b.sub(ch, token=t.subtok(ch, "other-" + t.tag(), info={"s": 1}))
    await t.settle(0.2)
