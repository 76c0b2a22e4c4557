"""gRPC server API (§17, §28.2, §29.3): h has the key "gk" and default error mode, g no key and transport error mode, b neither."""
import grpc

from lib import now
from cases_proxy import add, case

C = lambda ns="hist", **kw: lambda t: {"channel": t.ch(ns), **kw}
hist = lambda t: t.grpc("History", {"channel": t.ch("hist"), "limit": -1})


def api(method, name, intent, req, on="hg", times=1, seed=None, then=None, solo=False, **kw):
    """One call (or several); req is a dict or a function of T."""
    async def go(t):
        if seed:
            await t.seed(t.ch(seed), 3)
        for _ in range(times):
            await t.grpc(method, req(t) if callable(req) else req, **kw)
        if then:
            await then(t)
    add(f"grpc-{method}-{name}", intent, go, on=on, pb=False, ref="§17,§29.3", solo=solo)


# access
for n, key in [("none", ""), ("wrong", "apikey no"), ("scheme-case", "APIKEY gk"), ("no-scheme", "gk"), ("bearer", "Bearer gk"), ("space", "apikey  gk"), ("longer", "apikey gkk"), ("empty-key", "apikey ")]:
    api("Publish", "key-" + n, f"key: {n}", C("open", data=1), on="hb", key=key)
api("Publish", "key-x-api-key", "key in x-api-key", C("open", data=1), on="h", key="", md=[("x-api-key", "gk")])
api("Publish", "key-twice", "two authorization values: the first counts", C("open", data=1), on="h", key="apikey no", md=[("authorization", "apikey gk")])
api("Publish", "key-http-key", "the HTTP API's key", C("open", data=1), on="h", key="apikey k")
api("Publish", "garbage", "a request that is no Protobuf", {}, on="hb", raw=b"\xff\xff\xff")
api("Publish", "unknown-field", "an unknown field", {}, on="h", raw=b"\x0a\x06open:x\x12\x011\xa2\x06\x01x")


@case("grpc-unknown-method", intent="unknown method and unknown service", on="hb", pb=False, ref="§17.1")
async def _(t):
    for m in ("/centrifugal.centrifugo.api.CentrifugoApi/Nope", "/centrifugal.centrifugo.api.Nope/Publish", "/api.CentrifugoApi/Publish"):
        call = t.env.channel(30 + t.inst).unary_unary(m, request_serializer=lambda x: x, response_deserializer=lambda x: x)
        try:
            await call(b"", metadata=[("authorization", "apikey gk")], timeout=5)
            t.lane("grpc").append({"reply": "OK"})
        except grpc.aio.AioRpcError as e:
            t.lane("grpc").append({"code": e.code().name})


@case("grpc-large", intent="a request of 5 MB: over the limit of the library", on="b", pb=False, ref="§17.1")
async def _(t):
    await t.grpc("Publish", {"channel": t.ch("open"), "data": b'"' + b"x" * (5 << 20) + b'"'})
    await t.grpc("Publish", {"channel": t.ch("open"), "data": b'"' + b"x" * (3 << 20) + b'"'})


# error modes
for m in (None, "transport", "default", "TRANSPORT", ""):
    for n, meth, req in [("102", "Publish", {"channel": "nope:x", "data": 1}), ("104", "RPC", {"method": "x"}), ("107", "Publish", {}), ("108", "History", {"channel": "open:x"}), ("ok", "Info", None)]:
        if req is not None:
            api(meth, f"mode-{m}-{n}", f"error mode of the request {m}: {n}", req, on="hgb", mode=m)
api("History", "mode-112", "112 in transport mode: OUT_OF_RANGE", lambda t: {"channel": t.ch("hist"), "limit": 1, "since": {"offset": 9, "epoch": "zz"}}, on="hgb", seed="hist")
api("Batch", "mode", "batch in transport mode: inner errors stay inside", {"commands": [{"publish": {"channel": "nope:x", "data": 1}}]}, on="hgb", mode="transport")
api("Broadcast", "mode", "broadcast in transport mode: inner errors stay inside", {"channels": ["nope:x"], "data": 1}, on="hgb", mode="transport")

# publish
api("Publish", "ok", "no history: empty result", C("open", data={"a": 1}))
api("Publish", "history", "offset and epoch", C(data={"a": 1}), times=2)
api("Publish", "no-data", "data missing", C())
api("Publish", "no-channel", "channel missing", {"data": 1})
api("Publish", "binary", "binary data", C(data=b"\x00\xff"), then=hist)
api("Publish", "b64data", "b64data", C(b64data="eyJiIjoxfQ=="), then=hist)
api("Publish", "b64data-bad", "b64data broken", C(b64data="!!"))
api("Publish", "b64data-and-data", "which wins", C(b64data="eyJiIjoxfQ==", data={"a": 1}), then=hist)
api("Publish", "skip_history", "skip_history", C(data=1, skip_history=True), then=hist)
api("Publish", "tags", "tags", C(data=1, tags={"a": "b"}), then=hist)
api("Publish", "idempotency", "idempotency_key twice", C(data=1, idempotency_key="k"), times=2, then=hist)
api("Publish", "version", "version twice", C(data=1, version=3), times=2, then=hist)
api("Publish", "version-epoch", "version_epoch", C(data=1, version=3, version_epoch="e"), times=2, then=hist)
api("Publish", "delta", "delta", C(data=1, delta=True))
api("Publish", "format", "publication_data_format", C("fobj", data=5))
api("Publish", "map-ns", "namespace of maps", C("map", data=1))
api("Publish", "proxied-ns", "namespace with a publish proxy: not called", C("hj", data={"a": 1}))


@case("grpc-Publish-received", intent="what a JSON and a Protobuf subscriber receive", on="hg", ref="§17,§29.3")
async def _(t):
    a, ch = await t.member(), t.ch("hist")
    await a.sub(ch)
    await t.grpc("Publish", {"channel": ch, "data": {"a": 1}, "tags": {"x": "y"}})
    await t.grpc("Publish", {"channel": ch, "data": b'  {"spaces" :  1}'})
    await t.settle(0.2)


@case("grpc-Publish-binary-received", intent="binary data to a JSON subscriber and a Protobuf one", on="hg", ref="§17,§29.3")
async def _(t):
    a, ch = await t.member(), t.ch("open")
    await a.sub(ch)
    await t.grpc("Publish", {"channel": ch, "data": b"\x00\xff"})
    await a.closed(0.3)


# broadcast, batch
B = lambda *ns, **kw: lambda t: {"channels": [t.ch(n) if n else "" for n in ns], "data": 1, **kw}
api("Broadcast", "ok", "two channels", B("open", "hist"))
api("Broadcast", "mixed", "unknown and empty among them", lambda t: {"channels": [t.ch("hist"), "nope:x", "", t.ch("open")], "data": 1})
api("Broadcast", "empty", "no channel", {"data": 1})
api("Broadcast", "no-data", "data missing", lambda t: {"channels": [t.ch("open")]})
api("Broadcast", "dup", "one channel twice", B("hist", "hist"), on="h")
api("Broadcast", "options", "tags, idempotency, version", B("hist", "hist", tags={"a": "b"}, idempotency_key="k", version=4), times=2, then=hist, on="h")
api("Broadcast", "b64data", "b64data", lambda t: {"channels": [t.ch("hist")], "b64data": "eyJiIjoxfQ=="}, then=hist)
for par in (False, True):
    api("Batch", f"parallel-{par}".lower(), f"several commands, parallel {par}", lambda t, par=par: {"parallel": par, "commands": [
        {"publish": {"channel": t.ch("open"), "data": 1}}, {"publish": {"channel": "nope:x", "data": 1}}, {"presence": {"channel": t.ch("open")}}, {"presence_stats": {"channel": t.ch("open")}},
        {"history": {"channel": t.ch("hist"), "limit": 1}}, {"broadcast": {"channels": [t.ch("open"), "nope:x"], "data": 1}}, {"rpc": {"method": "x"}}, {"unsubscribe": {"user": "nobody-here", "channel": t.ch("open")}},
        {"disconnect": {"user": "nobody-here"}}, {"refresh": {"user": "nobody-here"}}, {"subscribe": {"user": "nobody-here", "channel": t.ch("open")}}, {"history_remove": {"channel": t.ch("hist")}}, {"channels": {"pattern": "zz-none-*"}}]})
api("Batch", "empty", "no command", {})
api("Batch", "empty-command", "an empty command", {"commands": [{}, {"publish": {}}]})
api("Batch", "two-in-one", "two requests in one command", lambda t: {"commands": [{"publish": {"channel": t.ch("open"), "data": 1}, "broadcast": {"channels": [t.ch("open")], "data": 1}}]})
# connections and block_user of user "x", and device_list: our schema lacks the last.
api("Batch", "pro", "PRO commands", {}, more=b"\x0a\x06\x8a\x01\x03\x0a\x01x" b"\x0a\x06\xaa\x01\x03\x12\x01x" b"\x0a\x03\xe2\x01\x00")
api("Batch", "order", "ten publishes keep their order", lambda t: {"commands": [{"publish": {"channel": t.ch("hist"), "data": {"n": i}}} for i in range(10)]}, then=hist, on="h")

# connections
for m in ("Subscribe", "Unsubscribe", "Disconnect", "Refresh"):
    api(m, "empty", "nothing given", {}, solo=True)
    api(m, "nobody", "user not connected", C("open", user="nobody-here") if m in ("Subscribe", "Unsubscribe") else {"user": "nobody-here"})
api("Subscribe", "no-channel", "channel missing", {"user": "nobody-here"})
api("Subscribe", "unknown-ns", "unknown namespace", {"user": "nobody-here", "channel": "nope:x"})
api("Unsubscribe", "unknown-ns", "unknown namespace", {"user": "nobody-here", "channel": "nope:x"})
api("Subscribe", "all_users", "PRO field", C("open"), on="h", solo=True, more=b"\x68\x01")


def live(name, intent, steps, **kw):
    """steps(t, a): calls on a connected client."""
    async def go(t):
        a = await t.member(claims={"info": {"c": 1}})
        await steps(t, a)
        await a.closed(0.25)
    add("grpc-" + name, intent, go, on="hg", ref="§17,§29.3", **kw)


BV = lambda v: {"value": v}
live("Subscribe-ok", "subscribe push", lambda t, a: t.grpc("Subscribe", {"user": t.user, "channel": t.ch("hist"), "data": {"d": 1}, "info": {"i": 1}}))
live("Subscribe-client", "by client id", lambda t, a: t.grpc("Subscribe", {"user": t.user, "client": a.client, "channel": t.ch("open")}))
live("Subscribe-wrong-client", "other client id: nothing", lambda t, a: t.grpc("Subscribe", {"user": t.user, "client": "zz", "channel": t.ch("open")}))
live("Subscribe-b64", "b64info and b64data", lambda t, a: seq(t.grpc("Subscribe", {"user": t.user, "channel": t.ch("open"), "b64data": "eyJkIjoxfQ==", "b64info": "eyJpIjoxfQ=="}), t.grpc("Presence", {"channel": t.ch("open")})))
live("Subscribe-b64-bad", "b64info broken", lambda t, a: t.grpc("Subscribe", {"user": t.user, "channel": t.ch("open"), "b64info": "!!"}))
live("Subscribe-expire_at-past", "expire_at in the past", lambda t, a: t.grpc("Subscribe", {"user": t.user, "channel": t.ch("open"), "expire_at": 5}))
live("Subscribe-override", "overrides", lambda t, a: seq(t.grpc("Subscribe", {"user": t.user, "channel": t.ch("hj"), "override": {"presence": BV(False), "join_leave": BV(True), "force_recovery": BV(True), "force_positioning": BV(True), "force_push_join_leave": BV(True)}}), t.grpc("Presence", {"channel": t.ch("hj")})))


@case("grpc-Subscribe-recover_since", intent="recover_since", on="hg", ref="§17")
async def _(t):
    a = await t.member()
    r = await t.seed(t.ch("hist"), 3)
    await t.grpc("Subscribe", {"user": t.user, "channel": t.ch("hist"), "recover_since": {"offset": 1, "epoch": r.get("epoch", "")}})
    await t.settle(0.2)


async def seq(*calls):
    for c in calls:
        await c


async def subbed(t, a, *calls):
    await a.sub(t.ch("open"))
    await seq(*calls)

live("Unsubscribe-ok", "unsubscribe push", lambda t, a: subbed(t, a, t.grpc("Unsubscribe", {"user": t.user, "channel": t.ch("open")})))
live("Unsubscribe-client", "by client id", lambda t, a: subbed(t, a, t.grpc("Unsubscribe", {"user": t.user, "channel": t.ch("open"), "client": a.client})))
live("Unsubscribe-all", "no channel: all", lambda t, a: subbed(t, a, t.grpc("Unsubscribe", {"user": t.user})))
live("Disconnect-ok", "3503", lambda t, a: t.grpc("Disconnect", {"user": t.user}))
live("Disconnect-custom", "own code and reason", lambda t, a: t.grpc("Disconnect", {"user": t.user, "disconnect": {"code": 4321, "reason": "mine"}}))
live("Disconnect-code-0", "disconnect {}", lambda t, a: t.grpc("Disconnect", {"user": t.user, "disconnect": {}}))
live("Disconnect-whitelist", "whitelist", lambda t, a: t.grpc("Disconnect", {"user": t.user, "whitelist": [a.client]}))
live("Disconnect-client", "other client id", lambda t, a: t.grpc("Disconnect", {"user": t.user, "client": "zz"}))
live("Refresh-expired", "expired: 3005", lambda t, a: t.grpc("Refresh", {"user": t.user, "expired": True}))
live("Refresh-expire_at", "expire_at", lambda t, a: t.grpc("Refresh", {"user": t.user, "expire_at": int(now(100))}))
live("Refresh-past", "expire_at in the past", lambda t, a: t.grpc("Refresh", {"user": t.user, "expire_at": 5}))
live("Refresh-info", "info", lambda t, a: subbed(t, a, t.grpc("Refresh", {"user": t.user, "info": {"new": 1}}), t.settle(1.3), t.grpc("Presence", {"channel": t.ch("open")})))
live("Presence-ok", "presence with both infos", lambda t, a: seq(a.cmd("subscribe", channel=t.ch("open"), token=t.subtok(t.ch("open"), info={"s": 1})), t.grpc("Presence", {"channel": t.ch("open")}), t.grpc("PresenceStats", {"channel": t.ch("open")})))
live("Channels-ok", "channels by pattern", lambda t, a: subbed(t, a, t.grpc("Channels", {"pattern": "*" + t.tag()[-20:]})))

# reading
for m in ("Presence", "PresenceStats", "History", "HistoryRemove", "Channels"):
    api(m, "unknown-ns", "unknown namespace", {"channel": "nope:x"} if m != "Channels" else {"pattern": "nope:*"})
    if m != "Channels":
        api(m, "empty", "channel missing", {})
        api(m, "nothing", "empty channel", C("plain"))
        api(m, "off", "feature off", C("fobj"))
api("Channels", "bad-pattern", "a broken pattern", {"pattern": "[a"})
for n, r in [("all", {"limit": -1}), ("zero", {}), ("limit", {"limit": 2}), ("reverse", {"limit": 2, "reverse": True}), ("since-zero", {"limit": -1, "since": {}}), ("negative", {"limit": -5})]:
    api("History", n, f"history {n}", C(**r), seed="hist")


@case("grpc-History-since", intent="pages by since, forward and back", on="hg", pb=False, ref="§17")
async def _(t):
    ch = t.ch("hist")
    r = await t.seed(ch, 5)
    e = r.get("epoch", "")
    for since, rev in ((1, False), (4, False), (5, False), (9, False), (4, True), (1, True)):
        await t.grpc("History", {"channel": ch, "limit": 2, "since": {"offset": since, "epoch": e}, "reverse": rev})


api("HistoryRemove", "ok", "then the history is empty, the offset goes on", C(), seed="hist", then=lambda t: seq(hist(t), t.grpc("Publish", {"channel": t.ch("hist"), "data": 1})))
api("RPC", "empty", "method missing", {})
api("RPC", "unknown", "unknown method", {"method": "x", "params": {"a": 1}})


@case("grpc-Info", intent="info: shape only", on="hg", pb=False, ref="§17")
async def _(t):
    await t.member()
    r = await t.grpc("Info", lane="hidden")
    t.lanes.pop("hidden", None)
    t.note("fields", [sorted(k for k in n if k != "num_subs" and k != "process" and k != "metrics" and k != "num_channels" and k != "uptime") for n in r.get("nodes", r.get("result", {}).get("nodes", []))])


# PRO methods and maps
for m in ("Connections", "UpdateUserStatus", "GetUserStatus", "DeleteUserStatus", "BlockUser", "UnblockUser", "RevokeToken", "InvalidateUserTokens", "DeviceRegister", "DeviceUpdate", "DeviceRemove", "DeviceList",
          "DeviceTopicList", "DeviceTopicUpdate", "UserTopicList", "UserTopicUpdate", "SendPushNotification", "UpdatePushStatus", "CancelPush"):
    api(m, "pro", "PRO method on an OSS server", {}, on="hb")
for m, r in [("MapPublish", {"key": "k", "data": {"a": 1}}), ("MapRemove", {"key": "k"}), ("MapReadState", {}), ("MapReadStream", {}), ("MapStats", {}), ("MapClear", {}), ("SharedPollPublish", {"key": "k", "data": 1, "version": 1})]:
    api(m, "stream-ns", "namespace of streams", C("hist", **r))
    api(m, "unknown-ns", "unknown namespace", {"channel": "nope:x", **r})
    api(m, "empty", "nothing given", {})


@case("grpc-Map", intent="a map by the API alone: publish, read, stats, remove, stream, clear", on="hg", pb=False, ref="§12,§17")
async def _(t):
    ch = t.ch("map")
    for k in "abc":
        await t.grpc("MapPublish", {"channel": ch, "key": k, "data": {"k": k}, "tags": {"t": k}})
    await t.grpc("MapPublish", {"channel": ch, "key": "a", "data": {"k": "a2"}, "key_mode": "if_new"})
    for m, r in [("MapReadState", {"limit": 10}), ("MapStats", {}), ("MapRemove", {"key": "b"}), ("MapReadStream", {"limit": 10}), ("MapReadState", {"limit": 1}), ("MapClear", {}), ("MapReadState", {"limit": 10})]:
        await t.grpc(m, {"channel": ch, **r})


@case("grpc-reflection", intent="reflection: on where enabled", on="hg", pb=False, ref="§17.1")
async def _(t):
    call = t.env.channel(30 + t.inst).stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", request_serializer=lambda x: x, response_deserializer=lambda x: x)
    try:
        async for r in call(iter([b"\x3a\x00"]), metadata=[("authorization", "apikey gk")], timeout=5):
            t.note("lists the service", b"centrifugal.centrifugo.api.CentrifugoApi" in r)
    except grpc.aio.AioRpcError:
        t.note("refused", True)
