"""A few more combinations: error modes by method, payload texts by the API, tags with history, tokens with subs (§3, §11, §17, §28)."""
from lib import add, case, now

from cases.j_api import api
from cases.m_serverside import login
from cases.o_tokens import token

MODE = {"X-Centrifugo-Error-Mode": "transport"}
for n, m, b in [("presence-102", "presence", {"channel": "nope:x"}), ("presence-108", "presence", {"channel": "open:x"}), ("history-107", "history", {"channel": ""}), ("broadcast-107", "broadcast", {"channels": []}), ("subscribe-102", "subscribe", {"user": "nobody-here", "channel": "nope:x"}), ("channels-bad", "channels", {"pattern": "["}),
                ("unsubscribe-102", "unsubscribe", {"user": "nobody-here", "channel": "nope:x"}), ("map-107", "map_publish", {"channel": "open:x", "key": "k"}), ("info-ok", "disconnect", {"user": "nobody-here"}), ("rpc-107", "rpc", {}), ("stats-108", "presence_stats", {"channel": "open:x"}), ("remove-108", "history_remove", {"channel": "open:x"})]:
    api("=mode-more-" + n, f"transport mode: {n}", m, b, ref="§28.2", headers=MODE)

# Payload texts by the API.
for n, d in [("newlines", '{\n"a":\n1\n}'), ("crlf", '{\r\n"a": 1}'), ("tabs", '{\t"a":\t1}'), ("spaces", '  { "a" : 1 }  '), ("escapes", '"\\u00e9\\/\\n"'), ("unicode", '"\u00e9\u2028"'), ("big", "1" * 40), ("exp", "1E300"), ("html", '"<a>&"'), ("nested-newline", '[\n[\n1\n]\n]'), ("surrogate", '"\\ud800"'), ("del", '"\x7f"')]:
    @case("api-more-payload-" + n, f"a payload by the API: {n}", "§2,§11", pb=False)
    async def _(t, d=d):
        ch = t.ch("open")
        a = await t.client()
        a.raw_data = True
        await a.sub(ch)
        body = ('{"channel":"%s","data":%s}' % (ch, d)).encode()
        await t.post("/api/publish", body)
        await t.settle(0.15)

for n, c in [("null", {"subs": None}), ("array", {"subs": []}), ("string", {"subs": "x"}), ("empty", {"subs": {}}), ("empty-and-channels", {"subs": {}, "channels": ["open:more-x"]}), ("value-string", {"subs": {"open:more-x": "y"}}), ("value-array", {"subs": {"open:more-x": []}}), ("value-false", {"subs": {"open:more-x": False}}), ("empty-name", {"subs": {"": {}}}), ("info-number", {"subs": {"open:more-x": {"info": 5}}}), ("data-null", {"subs": {"open:more-x": {"data": None}}}), ("data-string", {"subs": {"open:more-x": {"data": "s"}}}),
             ("both-data", {"subs": {"open:more-x": {"data": 1, "b64data": "Mg=="}}}), ("override-null", {"subs": {"open:more-x": {"override": None}}}), ("override-inner-null", {"subs": {"open:more-x": {"override": {"presence": None}}}}), ("override-value-null", {"subs": {"open:more-x": {"override": {"presence": {"value": None}}}}}), ("override-unknown", {"subs": {"open:more-x": {"override": {"nope": {"value": True}}}}}), ("channels-null-inside", {"channels": [None]}), ("channels-empty-name", {"channels": [""]}), ("unknown-ns-subs", {"subs": {"nope:x": {}}})]:
    token("more-subs-" + n, f"subs of a token: {n}", c)


@case("history-more-tags", "tags in history and recovery, with and without a filter", "§11")
async def _(t):
    ch, a = t.ch("tags"), await t.client()
    r = {}
    for v in "abab":
        r = (await t.api("publish", channel=ch, data=v, tags={"k": v, "e": ""})).get("result", {})
    await a.hist(ch, limit=2, reverse=True)
    await a.sub(ch, recoverable=True, recover=True, offset=1, epoch=r.get("epoch", ""), tf={"key": "e", "cmp": "eq", "val": ""})


@case("more-two-users-one-channel", "publications with the info of each", "§11")
async def _(t):
    ch = t.ch("pub")
    a, b = [await t.client(u + "-" + t.tag(), claims={"info": {"u": u}}) for u in "ab"]
    await a.sub(ch)
    await b.sub(ch)
    await a.pub(ch, 1)
    await t.settle(0.08)
    await b.pub(ch, 2)
    await t.settle(0.15)


@case("more-chan-info-published", "info of token and subscription with a publication", "§5,§11")
async def _(t):
    a, ch = await t.client(claims={"info": {"c": 1}}), t.ch("pub")
    await a.sub(ch, token=t.subtok(ch, info={"s": 2}))
    await a.pub(ch, 1)
    await t.settle(0.15)
    await a.unsub(ch)
    await a.pub(ch, 2)
    await t.settle(0.1)


@case("more-empty-user-api", "the API with a user that is no text", "§17.2", pb=False)
async def _(t):
    for u in (None, [], {}, True):
        await t.api("disconnect", user=u)


@case("more-ttl-rounding", "ttl of ends just ahead", "§3,§5")
async def _(t):
    a = await t.client(claims={"exp": now(30)})
    ch = t.ch("open")
    await a.sub(ch, token=t.subtok(ch, exp=now(30)))
    await a.cmd("refresh", token=t.tok(exp=now(60)))
    await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch, exp=now(60)))
