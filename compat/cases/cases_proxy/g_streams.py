"""Subscribe stream proxy (§18): the answer to a subscribe is a stream of publications. The back end is a gRPC one."""
import time

from cases_proxy import add, case
from backend import bye, error, ok

at = lambda d: int(time.time()) + d
HELLO = lambda **r: {"subscribe_response": ok(**r)}
PUB = lambda data, **kw: {"publication": {"data": data, **kw}}


def stream(name, intent, script, ns="uni", then=None, pb=True, meta=None, **req):
    """Subscribes to a channel of ns with this script of the back end; then(t, a, channel, stream)."""
    async def go(t):
        t.on("connect", ok(user=t.user, info={"c": 1}, **({"meta": meta} if meta else {})))
        t.on("stream", script(t) if callable(script) else script)
        a, ch = await t.join(), t.ch(ns)
        await a.sub(ch, **req)
        if then:
            await then(t, a, ch, t.streams[0] if t.streams else None)
        await t.settle()
        await t.alive(a, 0.1)
    add("stream-" + name, intent, go, on="h", pb=pb)


def ends(code=None):
    async def then(t, a, ch, s):
        await s.end(code)
        await t.settle()
        await a.hist(ch)
    return then


async def leaves(t, a, ch, s):
    await a.unsub(ch)
    await t.wait(lambda: any("cancelled" in e.get("call", "") for e in t.lane("back")), 2, "cancel")


async def hangs_up(t, a, ch, s):
    t.leave(a)
    await t.wait(lambda: any("cancelled" in e.get("call", "") for e in t.lane("back")), 2, "cancel")


def publishes(*data):
    async def then(t, a, ch, s):
        for d in data:
            await a.pub(ch, d)
        await t.settle()
    return then


def api(method, **kw):
    async def then(t, a, ch, s):
        await t.api(method, **{"channel": ch, **{k: (v(t) if callable(v) else v) for k, v in kw.items()}})
        await t.settle()
    return then


def after_publication(then):
    """Nothing orders a publication of the stream and one by another way, unless the client has the first."""
    async def wait(t, a, ch, s):
        await t.wait(lambda: any("pub" in e.get("rx", {}).get("push", {}) for e in a.lane), 2, "publication of the stream")
        await then(t, a, ch, s)
    return wait


stream("ok", "a publication after the answer", [HELLO(), PUB({"n": 1})])
stream("several", "publications at once", [HELLO(), PUB({"n": 1}), PUB({"n": 2}), PUB({"n": 3})])
stream("later", "a publication later", [HELLO(), 0.2, PUB({"n": 1})])
stream("tags", "tags of a publication", [HELLO(), PUB({"n": 1}, tags={"a": "b"})])
stream("end", "the back end ends it", [HELLO()], then=ends())
stream("end-after", "the back end ends it after a publication", [HELLO(), PUB({"n": 1}), (None, "")])
for code in ("UNAVAILABLE", "INTERNAL", "NOT_FOUND", "CANCELLED", "DEADLINE_EXCEEDED", "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED"):
    stream(f"break-{code}", f"it breaks with {code}", [HELLO()], then=ends(code))
    stream(f"status-{code}", f"{code} in place of an answer", [(code, "no")])
stream("nothing", "it ends without an answer", [(None, "")])
stream("slow", "the answer takes longer than the timeout", [2.5, HELLO()])
stream("publication-first", "a publication in place of the answer", [PUB({"n": 1}), HELLO()])
stream("empty-first", "an empty message in place of the answer", [{}, HELLO()])
stream("empty-answer", "an answer with nothing in it", [{"subscribe_response": {}}, PUB({"n": 1})])
stream("empty-message", "an empty message later", [HELLO(), {}, PUB({"n": 1})])
stream("answer-again", "a second answer", [HELLO(), HELLO(data={"x": 1}), PUB({"n": 1})])
stream("error-again", "an error later", [HELLO(), {"subscribe_response": error()}, PUB({"n": 1})])
stream("disconnect-again", "a disconnect later", [HELLO(), {"subscribe_response": bye()}, PUB({"n": 1})])
stream("both", "a publication beside the answer", [{**HELLO(), **PUB({"n": 1})}, PUB({"n": 2})])
stream("empty-data", "a publication without data", [HELLO(), {"publication": {}}, PUB({"n": 2})])
stream("binary-data", "bytes that are no JSON", [HELLO(), PUB(b"\x00\xff"), PUB({"n": 2})])
for code in (1, 103, 403, 1000, 5000):
    stream(f"error-{code}", f"error {code}", [{"subscribe_response": error(code)}])
stream("error-temporary", "a temporary error", [{"subscribe_response": error(1000, temporary=True)}])
stream("error-and-result", "error beside a result", [{"subscribe_response": {**ok(), **error()}}])
for code in (2500, 3000, 4000, 4500, 4999):
    stream(f"disconnect-{code}", f"disconnect {code}", [{"subscribe_response": bye(code)}])
stream("info", "info: in presence", [HELLO(info={"s": 1})], then=api("presence"))
stream("data", "data of the answer", [HELLO(data={"d": 1})])
stream("b64data", "b64data of the answer", [HELLO(b64data="eyJkIjoyfQ==")])
stream("b64data-bad", "b64data broken", [HELLO(b64data="!!")])
stream("b64info-bad", "b64info broken", [HELLO(b64info="!!")])
stream("expire_at", "expire_at", lambda t: [HELLO(expire_at=at(100))])
stream("expire_at-past", "expire_at in the past", lambda t: [HELLO(expire_at=at(-10))])
stream("expire_at-soon", "the subscription expires", lambda t: [HELLO(expire_at=at(2)), 3, PUB({"n": 1})], then=lambda t, a, ch, s: t.settle(3.5))
for o in ("presence", "join_leave", "force_recovery", "force_positioning", "force_push_join_leave"):
    for v in (True, False):
        stream(f"override-{o}-{v}", f"override {o}: {v}", [HELLO(override={o: {"value": v}}), PUB({"n": 1})], then=api("presence"))
stream("recover", "recovery is asked for", [HELLO(), PUB({"n": 1})], recover=True, recoverable=True, positioned=True)
stream("join_leave", "join_leave is asked for", [HELLO()], join_leave=True)
stream("subscribe-data", "data of the subscribe", [HELLO()], data={"x": [1]})
stream("meta", "meta of the connection", [HELLO()], meta={"m": 1})
stream("unsubscribe", "the client unsubscribes", [HELLO()], then=leaves)
stream("hangup", "the connection breaks", [HELLO()], then=hangs_up)
stream("api-publish", "a publication by the API", [HELLO()], then=api("publish", data={"api": 1}))
stream("api-unsubscribe", "unsubscribed by the API", [HELLO()], then=api("unsubscribe", user=lambda t: t.user))
stream("api-disconnect", "disconnected by the API", [HELLO()], then=lambda t, a, ch, s: t.api("disconnect", user=t.user))
stream("publish-uni", "the client publishes into a unidirectional one", [HELLO()], then=publishes({"p": 1}))
stream("publish-bidi", "the client publishes into a bidirectional one", [HELLO()], ns="bidi", then=publishes({"p": 1}, [2], "three"))
stream("ok-bidi", "publications of a bidirectional one", [HELLO(), PUB({"n": 1})], ns="bidi")
stream("end-bidi", "the back end ends it", [HELLO()], ns="bidi", then=ends())
stream("break-bidi", "it breaks", [HELLO()], ns="bidi", then=ends("UNAVAILABLE"))
stream("unsubscribe-bidi", "the client unsubscribes", [HELLO()], ns="bidi", then=leaves)
stream("hangup-bidi", "the connection breaks", [HELLO()], ns="bidi", then=hangs_up)
stream("error-bidi", "an error", [{"subscribe_response": error()}], ns="bidi")
stream("binary", "binary encoding", [HELLO(b64data="eyJkIjoyfQ=="), PUB({"n": 1})], ns="unib", data={"x": 1})
stream("static", "static metadata", [HELLO(), PUB({"n": 1})], ns="unis")
stream("dead", "nobody listens", [HELLO()], ns="unid")
stream("delta", "deltas are asked for", [HELLO(), PUB({"n": 1}), PUB({"n": 2})], ns="undl", delta="fossil")
stream("force", "options of the namespace that force", [HELLO(), PUB({"n": 1})], ns="unfo", then=after_publication(api("publish", data={"api": 1})))
stream("force-recover", "the same, recovering", [HELLO(), PUB({"n": 1})], ns="unfo", recover=True, offset=1, epoch="x")
stream("force-override", "overrides against options that force", [HELLO(override={"force_recovery": {"value": False}, "force_positioning": {"value": False}})], ns="unfo")
stream("filter", "a tags filter", [HELLO(), PUB({"n": 1}, tags={"a": "b"}), PUB({"n": 2}, tags={"a": "c"}), PUB({"n": 3})], ns="undl", tf={"key": "a", "cmp": "eq", "val": "b"})
stream("filter-refused", "a tags filter where there are none", [HELLO(), PUB({"n": 1})], tf={"key": "a", "cmp": "eq", "val": "b"})


@case("stream-publish-unsubscribed", intent="publishing into a bidirectional one without a subscription", on="h")
async def _(t):
    a, ch = await t.join(), t.ch("bidi")
    await a.pub(ch, {"p": 1})
    t.on("stream", [HELLO()])
    await a.sub(ch)
    await a.unsub(ch)
    await a.pub(ch, {"p": 2})
    await t.alive(a, 0.1)


@case("stream-own-token", intent="a subscription token decides, and no stream is opened", on="h")
async def _(t):
    a, ch = await t.join(), t.ch("uni")
    await a.sub(ch, token=t.subtok(ch))
    await t.api("publish", channel=ch, data={"api": 1})
    await t.settle()


@case("stream-two-clients", intent="each subscriber has a stream of its own", on="h")
async def _(t):
    t.on("stream", [HELLO()])
    a, b, ch = await t.join(), await t.join(), t.ch("uni")
    await a.sub(ch)
    await b.sub(ch)
    await (await t.opened(2)).send(PUB({"for": "b"}))
    await t.settle()
    await (await t.opened(1)).send(PUB({"for": "a"}))
    await t.settle()


@case("stream-again", intent="a subscription after the end of the first", on="h")
async def _(t):
    t.on("stream", [HELLO()])
    a, ch = await t.join(), t.ch("uni")
    await a.sub(ch)
    await (await t.opened()).end()
    await t.settle()
    await a.sub(ch)
    await (await t.opened(2)).send(PUB({"n": 2}))
    await t.settle()


@case("stream-server-side", intent="the server subscribes to a channel of streams", on="h")
async def _(t):
    a, ch = await t.join(), t.ch("uni")
    await t.api("subscribe", user=t.user, channel=ch)
    await t.api("publish", channel=ch, data={"api": 1})
    await t.settle()
