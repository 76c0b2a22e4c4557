"""Streams in combination: history with every mix of limit, since and direction, recovery after trims and removals,
cache channels, deltas that meet recovery (§11, §32.8, §32.16)."""
import itertools

from lib import add, case

from cases.g_recovery import BIG, recover, remove
from cases.k_history import by_api, page

# History: what combinations of limit, position and direction give.
for (limit, reverse, since) in itertools.product((0, 1, 4, -1), (False, True), (None, 0, 1, 4, 5, 2**63)):
    page(f"mix-{limit}-{'back' if reverse else 'on'}-{since}", f"limit {limit}, since {since}, {'backwards' if reverse else 'forwards'}", n=4, limit=limit, since=since, **({"reverse": True} if reverse else {}))
for (limit, reverse, since) in itertools.product((0, 2, -1), (False, True), (None, 0, 2, 3, 4, 6)):
    page(f"tinymix-{limit}-{'back' if reverse else 'on'}-{since}", f"two of five kept: limit {limit}, since {since}", n=5, ns="tiny", limit=limit, since=since, **({"reverse": True} if reverse else {}))
for (limit, since) in itertools.product((0, 2, -1), (0, 2)):
    by_api(f"mix-{limit}-{since}", f"by the API: limit {limit}, since {since}, backwards", n=4, limit=limit, since=since, reverse=True)
page("cache-since", "a cache channel: since", ns="cache", limit=-1, since=1)
page("cache-reverse", "a cache channel: backwards", ns="cache", limit=2, reverse=True)
page("empty-reverse", "nothing there, backwards", n=0, limit=2, reverse=True)
page("empty-since-0-reverse", "nothing there, backwards from 0", n=0, limit=2, since=0, reverse=True)
page("empty-since-epoch-empty", "nothing there, a position without an epoch", n=0, limit=2, since=3, epoch="")
page("limit-i32-max", "a limit of 2^31-1", limit=2**31 - 1)
page("limit-i32-min", "a limit of -2^31", limit=-2**31)
page("meta-then-gone", "publications gone, position kept", ns="tiny", n=1, limit=-1, since=1)


@case("history-since-other-channel", "the epoch of another channel", "§11")
async def _(t):
    r = await t.seed(t.ch("hist", "other"), 2)
    ch = t.ch("hist")
    await t.seed(ch, 2)
    a = await t.client()
    await a.hist(ch, limit=5, since={"offset": 1, "epoch": r.get("epoch")})


@case("history-while-publishing", "each own publication is there at once", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("hist")
    for i in range(3):
        await a.pub(ch, i)
        await a.hist(ch, limit=1, reverse=True)


@case("history-one-frame", "publish and history in one frame", "§2,§11")
async def _(t):
    a, ch = await t.client(), t.ch("hist")
    await a.send({"id": 5, "publish": {"channel": ch, "data": 1}}, {"id": 6, "history": {"channel": ch, "limit": 5}}, {"id": 7, "publish": {"channel": ch, "data": 2}}, {"id": 8, "history": {"channel": ch, "limit": 5}})
    await a.reply(8)


@case("history-size-wins", "eleven where ten are kept", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("hist")
    await t.seed(ch, 11)
    await a.hist(ch, limit=3)
    await a.hist(ch, limit=1, reverse=True)
    await t.api("history", channel=ch, limit=1)


# Recovery.
for ns in ("recov", "tiny", "cache", "auto", "delta", "deltao", "pos", "hist", "cachetag"):
    for (offset, epoch) in ((0, "own"), (2, "zz"), (5, "own"), (4, ""), (0, "zz")):
        recover(f"mix-{ns}-{offset}-{epoch or 'none'}", f"five in {ns}, offset {offset}, epoch {epoch!r}", ns=ns, n=5, offset=offset, epoch=epoch, recoverable=True, positioned=True)
for flag in (1, 2, 3, 4, -1):
    recover(f"flag-{flag}", f"flag {flag}, position fine", offset=2, flag=flag)
    recover(f"flag-{flag}-lost", f"flag {flag}, another epoch", offset=2, epoch="zz", flag=flag, live=False)
recover("flag-2-plain", "reject flag in a channel without history", ns="open", n=0, offset=1, epoch="zz", flag=2)
recover("flag-2-not-recovering", "reject flag without recover", offset=1, epoch="zz", recover=False, flag=2)
recover("flag-2-hist", "reject flag where history access gives recovery", ns="hist", offset=1, epoch="zz", flag=2)
recover("flag-2-over-limit", "reject flag, too many missed", n=8, offset=1, flag=2)
recover("flag-2-future", "reject flag, ahead of the stream", offset=50, flag=2)
recover("flag-2-after-remove", "reject flag, history removed", before=remove, offset=1, flag=2)
recover("offset-huge", "an offset of 2^64-1", offset=2**64 - 1)
recover("offset-2-53", "an offset of 2^53+1", offset=2**53 + 1)
recover("epoch-space", "an epoch with a space", offset=3, epoch=" ")
recover("limit-from-0", "exactly five from the beginning", n=5, offset=0)
recover("limit-from-0-over", "six from the beginning", n=6, offset=0)
recover("cache-after-remove", "cache: removed", ns="cache", before=remove, offset=1)
recover("auto-after-remove", "cache by itself: removed", ns="auto", before=remove, offset=None, epoch=None, recover=False)
recover("auto-position", "cache by itself: a position without recover", ns="auto", offset=1, recover=False)
recover("cachetag-filter-none", "cache with a filter that nothing passes", ns="cachetag", offset=0, epoch="", tf={"key": "k", "cmp": "eq", "val": "z"})
recover("cachetag-at-top", "cache with a filter, at the top", ns="cachetag", offset=3, tf={"key": "k", "cmp": "nex"})


@case("recover-twice", "the same position twice, on two connections", "§11")
async def _(t):
    ch = t.ch("recov")
    r = await t.seed(ch, 3)
    a, b = await t.client(), await t.client()
    await a.sub(ch, recover=True, offset=1, epoch=r.get("epoch"))
    await b.sub(ch, recover=True, offset=1, epoch=r.get("epoch"))
    await t.seed(ch, 1)
    await t.settle(0.2)


@case("recover-own-publications", "what one published oneself while away from the channel", "§11")
async def _(t):
    a, ch = await t.client(claims={"info": {"n": 1}}), t.ch("recov")
    r = await a.sub(ch)
    await a.unsub(ch)
    await a.pub(ch, {"mine": 1})
    await a.sub(ch, recover=True, offset=0, epoch=(r or {}).get("subscribe", {}).get("epoch", ""))


@case("recover-after-version", "suppressed versions leave no hole", "§11,§32.15")
async def _(t):
    ch, r = t.ch("recov"), {}
    for v in (1, 3, 2, 4):
        r = await t.api("publish", channel=ch, data={"v": v}, version=v)
    a = await t.client()
    await a.sub(ch, recover=True, offset=0, epoch=r.get("result", {}).get("epoch", ""))


@case("recover-tags-kept", "tags and info of recovered publications", "§11")
async def _(t):
    ch = t.ch("recov")
    r = await t.api("publish", channel=ch, data=1, tags={"a": "b"})
    p = await t.client(claims={"info": {"x": 1}})
    await p.pub(ch, 2)
    a = await t.client()
    await a.sub(ch, recover=True, offset=0, epoch=r.get("result", {}).get("epoch", ""))


@case("recover-in-one-frame", "subscribe, unsubscribe, recover in one frame", "§2,§11")
async def _(t):
    ch = t.ch("recov")
    r = await t.seed(ch, 3)
    a = await t.client()
    e = r.get("epoch", "")
    await a.send({"id": 5, "subscribe": {"channel": ch}}, {"id": 6, "unsubscribe": {"channel": ch}}, {"id": 7, "subscribe": {"channel": ch, "recover": True, "offset": 1, "epoch": e}})
    await a.reply(7)
    await t.settle(0.1)


# Deltas.

def deltas(name, intent, go, ref="§11,§32.16", pb=True):
    add("delta-mix-" + name, intent, ref, go, pb=pb)


def three(ns="delta", **kw):
    async def go(t):
        ch, r = t.ch(ns), {}
        for i in range(3):
            r = (await t.http.post(t.url("/api/publish"), json={"channel": ch, "data": {"t": BIG, "n": i}}, headers=t.key)).json().get("result", {})
        a = await t.client()
        p = {k: (r.get("epoch", "") if v == "own" else v) for k, v in kw.items()}
        await a.sub(ch, delta="fossil", **p)
        for i in range(2):
            await t.http.post(t.url("/api/publish"), json={"channel": ch, "data": {"t": BIG, "m": i}, "delta": True}, headers=t.key)
            await t.settle(0.06)
        await t.settle(0.2)
    return go


deltas("recover-top", "recovered with nothing missed, then live", three(recover=True, offset=3, epoch="own"))
deltas("recover-one", "one missed, then live", three(recover=True, offset=2, epoch="own"))
deltas("recover-lost", "another epoch, then live", three(recover=True, offset=2, epoch="zz"))
deltas("recover-lost-flag", "another epoch, reject flag", three(recover=True, offset=2, epoch="zz", flag=2))
deltas("positioning", "positioning alone", three("deltao"))
deltas("np-positioned", "positioning asked where it is not allowed", three("deltanp", positioned=True))
deltas("hist", "a namespace without deltas", three("hist"))
deltas("tags-recover", "recovery with filter and delta", three("deltatag", recover=True, offset=1, epoch="own", tf={"key": "k", "cmp": "nex"}))


@case("delta-mix-history", "history of a delta channel is never in deltas", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("delta")
    await a.sub(ch, delta="fossil")
    for i in range(2):
        await a.pub(ch, {"t": BIG, "n": i})
    await t.settle(0.15)
    await a.hist(ch, limit=5)
    await t.api("history", channel=ch, limit=5)


@case("delta-mix-again", "unsubscribed, subscribed again without delta", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("delta")
    await a.sub(ch, delta="fossil")
    await t.api("publish", channel=ch, data={"t": BIG, "n": 1})
    await t.settle(0.1)
    await a.unsub(ch)
    await a.sub(ch)
    a.delta.clear()
    await t.api("publish", channel=ch, data={"t": BIG, "n": 2})
    await t.settle(0.2)


@case("delta-mix-two-channels", "two delta channels do not meet", "§11")
async def _(t):
    a, x, y = await t.client(), t.ch("delta", "x"), t.ch("delta", "y")
    await a.sub(x, delta="fossil")
    await a.sub(y, delta="fossil")
    for i in range(2):
        for ch in (x, y):
            await t.api("publish", channel=ch, data={"t": BIG + ch[6], "n": i})
            await t.settle(0.05)
    await t.settle(0.15)


@case("delta-mix-removed", "history removed between two publications", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("delta")
    await a.sub(ch, delta="fossil")
    await t.api("publish", channel=ch, data={"t": BIG, "n": 1})
    await t.settle(0.05)
    await t.api("history_remove", channel=ch)
    await t.api("publish", channel=ch, data={"t": BIG, "n": 2})
    await t.settle(0.2)


@case("delta-mix-flag-off", "delta false where the namespace says delta_publish", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("delta")
    await a.sub(ch, delta="fossil")
    for i in range(3):
        await t.api("publish", channel=ch, data={"t": BIG, "n": i}, delta=False)
        await t.settle(0.05)
    await t.settle(0.15)


@case("delta-mix-some", "one of three publications with delta", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("deltao")
    await a.sub(ch, delta="fossil")
    for i in range(4):
        await t.api("publish", channel=ch, data={"t": BIG, "n": i}, delta=i in (1, 3))
        await t.settle(0.05)
    await t.settle(0.15)


@case("delta-mix-versions", "suppressed versions between deltas", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("delta")
    await a.sub(ch, delta="fossil")
    for v in (1, 3, 2, 4):
        await t.api("publish", channel=ch, data={"t": BIG, "v": v}, version=v)
        await t.settle(0.05)
    await t.settle(0.15)


@case("delta-mix-skip", "skip_history between deltas", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("delta")
    await a.sub(ch, delta="fossil")
    for i in range(4):
        await t.api("publish", channel=ch, data={"t": BIG, "n": i}, skip_history=i == 2)
        await t.settle(0.05)
    await t.settle(0.15)


# Cache channels.

@case("cache-mix-live-then-again", "live, gone, changed, again", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("cache")
    await a.sub(ch)
    await t.seed(ch, 1)
    await t.settle(0.1)
    await a.unsub(ch)
    await t.seed(ch, 2)
    await a.sub(ch, recover=True)
    await t.seed(ch, 1)
    await t.settle(0.2)


@case("cache-mix-skip", "skip_history leaves the cache alone", "§11")
async def _(t):
    a, ch = await t.client(), t.ch("cache")
    await t.api("publish", channel=ch, data="kept")
    await t.api("publish", channel=ch, data="not kept", skip_history=True)
    await a.sub(ch, recover=True)


@case("cache-mix-client-publish", "the cache holds the publisher's info", "§11")
async def _(t):
    ch = t.ch("cache")
    a = await t.client(claims={"info": {"n": 1}})
    await a.pub(ch, 1)
    await t.api("publish", channel=ch, data=2, tags={"a": "b"})
    b = await t.client()
    await b.sub(ch, recover=True)


# Idempotency and versions.

@case("idempotent-mix-other-data", "the same key with other data: the first result, nothing published", "§11,§32.14", pb=False)
async def _(t):
    a, ch = await t.client(), t.ch("recov")
    await a.sub(ch)
    for d in ("a", "b"):
        await t.api("publish", channel=ch, data=d, idempotency_key="k")
    await t.api("publish", channel=ch, data="c", idempotency_key="l")
    await t.settle(0.2)


@case("idempotent-mix-removed", "the key outlives the removal of the history", "§11", pb=False)
async def _(t):
    ch = t.ch("hist")
    await t.api("publish", channel=ch, data=1, idempotency_key="k")
    await t.api("history_remove", channel=ch)
    await t.api("publish", channel=ch, data=1, idempotency_key="k")
    await t.api("history", channel=ch, limit=-1)


@case("idempotent-mix-version", "a key and a version", "§11", pb=False)
async def _(t):
    ch = t.ch("hist")
    for k, v in (("a", 5), ("a", 6), ("b", 5), ("b", 7), ("c", 7)):
        await t.api("publish", channel=ch, data=[k, v], idempotency_key=k, version=v)
    await t.api("history", channel=ch, limit=-1)


@case("idempotent-mix-broadcast", "a key of publish seen by broadcast", "§11", pb=False)
async def _(t):
    x, y = t.ch("hist", "x"), t.ch("hist", "y")
    await t.api("publish", channel=x, data=1, idempotency_key="k")
    await t.api("broadcast", channels=[x, y], data=2, idempotency_key="k")
    await t.api("history", channel=x, limit=-1)
    await t.api("history", channel=y, limit=-1)


@case("idempotent-mix-failed", "a key that failed may be used again", "§11", pb=False)
async def _(t):
    ch = t.ch("fobj")
    await t.api("publish", channel=ch, data=5, idempotency_key="k")
    await t.api("publish", channel=ch, data={"a": 1}, idempotency_key="k")


@case("version-mix-epochs", "versions under changing epochs", "§11,§32.15", pb=False)
async def _(t):
    ch = t.ch("hist")
    for v, e in ((5, "a"), (4, "a"), (4, "b"), (5, "a"), (1, ""), (9, ""), (2, "b"), (0, "c"), (1, "c")):
        await t.api("publish", channel=ch, data=[v, e], version=v, version_epoch=e)
    await t.api("history", channel=ch, limit=-1)


@case("version-mix-skip", "a version with skip_history", "§11", pb=False)
async def _(t):
    a, ch = await t.client(), t.ch("recov")
    await a.sub(ch)
    for v in (5, 4, 6):
        await t.api("publish", channel=ch, data=v, version=v, skip_history=True)
    await t.api("publish", channel=ch, data="x", version=5)
    await t.settle(0.2)


@case("version-mix-removed", "versions after the history is removed", "§11", pb=False)
async def _(t):
    ch = t.ch("hist")
    await t.api("publish", channel=ch, data=1, version=5)
    await t.api("history_remove", channel=ch)
    await t.api("publish", channel=ch, data=2, version=4)
    await t.api("publish", channel=ch, data=3, version=6)
    await t.api("history", channel=ch, limit=-1)
