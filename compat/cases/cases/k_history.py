"""History by client and by API: paging, direction, limits, what stays after removal (§10, §11, §17.2)."""
from lib import add, case


def page(name, intent, n=6, ns="hist", ref="§11", user=None, before=None, since=None, epoch="own", **kw):
    """n publications, then one history call by a client."""
    async def go(t):
        ch = t.ch(ns)
        r = await t.seed(ch, n) if n else {}
        a = await t.client(user)
        if before:
            await before(t, a, ch)
        p = dict(kw)
        if since is not None:
            p["since"] = {"offset": since, "epoch": r.get("epoch", "") if epoch == "own" else epoch}
        await a.hist(ch, **p)
    add("history-" + name, intent, ref, go)


async def remove(t, a, ch):
    await t.api("history_remove", channel=ch)


async def enter(t, a, ch):
    await a.sub(ch)


page("nothing-asked", "no limit: the position alone")
page("limit-0", "limit 0: the position alone", limit=0)
page("limit-0-since", "limit 0 with a position", limit=0, since=2)
page("limit-1", "the oldest one", limit=1)
page("limit-3", "the three oldest", limit=3)
page("limit-all", "-1: everything", limit=-1)
page("limit-minus-2", "another negative limit", limit=-2)
page("limit-over", "more than there are", limit=50)
page("server-cap", "more than history_max_publication_limit there, -1 asked", n=10, limit=-1, ref="§10,§11")
page("server-cap-limit", "more asked than history_max_publication_limit", n=10, limit=9, ref="§10,§11")
page("server-cap-reverse", "the same backwards", n=10, limit=-1, reverse=True, ref="§10,§11")
page("reverse-1", "the newest one", limit=1, reverse=True)
page("reverse-3", "the three newest, newest first", limit=3, reverse=True)
page("reverse-0", "limit 0 backwards", limit=0, reverse=True)
page("since-0", "from the beginning", limit=-1, since=0)
page("since-3", "after the third", limit=-1, since=3)
page("since-3-limit-1", "one after the third", limit=1, since=3)
page("since-last", "nothing after the last", limit=-1, since=6)
page("since-ahead", "a position ahead of the stream", limit=-1, since=9)
page("since-far", "a position far ahead", limit=2, since=10**12)
page("since-wrong-epoch", "another epoch: 112", limit=-1, since=3, epoch="other")
page("since-empty-epoch", "a position without an epoch", limit=-1, since=3, epoch="")
page("since-0-wrong-epoch", "offset 0 of another epoch", limit=-1, since=0, epoch="other")
page("since-reverse-3", "before the third, backwards", limit=-1, since=3, reverse=True)
page("since-reverse-1", "nothing before the first", limit=-1, since=1, reverse=True)
page("since-reverse-0", "backwards from 0", limit=-1, since=0, reverse=True)
page("since-reverse-limit", "two before the fifth", limit=2, since=5, reverse=True)
page("since-reverse-ahead", "backwards from ahead", limit=2, since=9, reverse=True)
page("tiny-trimmed", "history_size 2: the two newest", ns="tiny", limit=-1)
page("tiny-since-trimmed", "a position that was trimmed away", ns="tiny", limit=-1, since=1)
page("tiny-since-edge", "the oldest position that still has all", ns="tiny", limit=-1, since=4)
page("empty", "nothing published", n=0, limit=-1)
page("empty-since", "nothing published, a position", n=0, limit=-1, since=3, epoch="x")
page("removed", "all removed: position stays", before=remove, limit=-1)
page("removed-since", "all removed, an older position", before=remove, limit=-1, since=2)
page("removed-since-top", "all removed, the last position", before=remove, limit=-1, since=6)
page("off", "namespace without history: 108", n=0, ns="open", limit=-1)
page("subscriber-out", "for subscribers only, not subscribed: 103", ns="histsub", limit=-1)
page("subscriber-in", "for subscribers only, subscribed", ns="histsub", before=enter, limit=-1)
page("denied", "history for nobody", ns="histno", limit=-1)
page("denied-subscribed", "history for nobody, subscribed", ns="histno", before=enter, limit=-1)
page("anonymous", "anonymous where clients may", user="", limit=-1)
page("anonymous-allowed", "anonymous where anonymous may", ns="histanon", user="", limit=-1)
page("cache", "history of a cache channel", ns="cache", limit=-1)


@case("history-pages", "three pages of two, each after the last offset of the one before", "§11")
async def _(t):
    ch = t.ch("hist")
    r = await t.seed(ch, 5)
    a, offset = await t.client(), 0
    for _i in range(4):
        got = await a.hist(ch, limit=2, since={"offset": offset, "epoch": r.get("epoch", "")})
        pubs = (got or {}).get("history", {}).get("publications", [])
        offset = pubs[-1]["offset"] if pubs else offset


@case("history-pages-back", "pages backwards", "§11")
async def _(t):
    ch = t.ch("hist")
    r = await t.seed(ch, 5)
    a, offset = await t.client(), 6
    for _i in range(4):
        got = await a.hist(ch, limit=2, reverse=True, since={"offset": offset, "epoch": r.get("epoch", "")})
        pubs = (got or {}).get("history", {}).get("publications", [])
        offset = pubs[-1]["offset"] if pubs else offset


@case("history-removed-goes-on", "offsets go on after a removal", "§11")
async def _(t):
    ch, a = t.ch("hist"), await t.client()
    await t.seed(ch, 3)
    await t.api("history_remove", channel=ch)
    await t.seed(ch, 1)
    await a.hist(ch, limit=-1)


@case("history-tags-info", "tags, and who published", "§11")
async def _(t):
    ch, a = t.ch("hist"), await t.client(claims={"info": {"name": "A"}})
    await t.api("publish", channel=ch, data={"n": 1}, tags={"k": "v"})
    await a.pub(ch, {"n": 2})
    await a.hist(ch, limit=-1)


@case("history-of-others", "history of an unknown namespace, of a long name, of a private channel", "§7,§11")
async def _(t):
    a = await t.client()
    await a.hist("nope:x", limit=1)
    await a.hist("hist:" + "x" * 300, limit=1)
    await a.hist("$hist:x", limit=1)
    await a.hist("hist:\u00e9", limit=1)
    await a.hist("", limit=1)


def by_api(name, intent, n=6, ns="hist", ref="§11,§17.2", since=None, epoch="own", **kw):
    """n publications, then one history call by the API."""
    async def go(t):
        ch = t.ch(ns)
        r = await t.seed(ch, n) if n else {}
        p = dict(kw)
        if since is not None:
            p["since"] = {"offset": since, "epoch": r.get("epoch", "") if epoch == "own" else epoch}
        await t.api("history", channel=ch, **p)
    add("api-history-" + name, intent, ref, go, pb=False)


by_api("page-limit-0", "the position alone", limit=0)
by_api("page-limit-2", "the two oldest", limit=2)
by_api("page-all", "no cap on the API", n=10, limit=-1, ref="§10,§17.2")
by_api("page-minus-2", "another negative limit", limit=-2)
by_api("page-reverse", "the two newest", limit=2, reverse=True)
by_api("page-since", "after the third", limit=-1, since=3)
by_api("page-since-reverse", "before the third, backwards", limit=-1, since=3, reverse=True)
by_api("page-since-wrong-epoch", "another epoch: 112", limit=-1, since=3, epoch="other")
by_api("page-since-ahead", "ahead of the stream", limit=-1, since=9)
by_api("page-since-trimmed", "trimmed away", ns="tiny", limit=-1, since=1)
by_api("page-since-no-epoch", "a position without an epoch", limit=-1, since=3, epoch="")
by_api("page-empty", "nothing published", n=0, limit=-1)
