"""Event proxies: a recording back end that does whatever a back end may do, and real clients before the server."""
import asyncio
import contextlib
import gzip
import json
import re
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from centrifuge import Client, ReplyError, SubscriptionEventHandler

from server import BIN, IS_SPINWARD, ROOT, Server, config, free_port
from wire import Raw, frame

CANARY = "canary-7f31c0"
INTERNAL = {"code": 100, "message": "internal server error", "temporary": True}
TRANSFORMS = [
    {"status_code": 404, "to_error": {"code": 1404, "message": "not here"}},
    {"status_code": 401, "to_disconnect": {"code": 4501, "reason": "go away"}},
    {"status_code": 302, "to_error": {"code": 1302, "message": "moved"}},
]


class Backend(ThreadingHTTPServer):
    """Answers by the last part of the path: `answers[event]` is a dict, or a function of handler and request."""

    daemon_threads = True
    # Of five connections at once, the sixth would be asked for again after a second.
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.answers, self.addresses = [], {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def seen(self, event):
        return [(headers, body) for path, headers, body in self.requests if path.endswith("/" + event)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        event = self.path.rsplit("/", 1)[-1]
        self.server.requests.append((self.path, self.headers, body))
        answer = self.server.answers.get(event, {"result": {"user": "7"} if event == "connect" else {}})
        if callable(answer):
            return answer(self, body)
        self.give(json.dumps(answer).encode())

    def do_GET(self):
        self.server.requests.append((self.path, self.headers, None))
        self.give(b"{}")

    def give(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def backend():
    backend = Backend()
    yield backend
    backend.shutdown()


def settings(backend, **options):
    proxy = lambda path: {
        "endpoint": backend.url(path), "timeout": "400ms", "http_headers": ["Cookie", "X-Listed"], "emulated_headers": ["X-Emu"],
        "include_connection_meta": True, "http": {"static_headers": {"X-Key": CANARY}, "status_to_code_transforms": TRANSFORMS}, **options,
    }
    every = {"subscribe_proxy_enabled": True, "publish_proxy_enabled": True, "sub_refresh_proxy_enabled": True}
    made = config(client={"proxy": {"connect": {"enabled": True, **proxy("connect")}, "refresh": {"enabled": True, **proxy("refresh")}}, "allowed_origins": ["*"]},
                  namespaces=[{"name": "asked", **every, "presence": True, "history_size": 10, "history_ttl": "60s"}])
    made["channel"]["proxy"] = {event: proxy(event) for event in ("subscribe", "publish", "sub_refresh")}
    made["rpc"] = {"proxy": proxy("rpc"), "without_namespace": {"proxy_enabled": True}}
    made["prometheus"] = {"enabled": True}
    return made


@pytest.fixture(scope="module")
def server(backend):
    with Server(settings(backend)) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(backend):
    backend.requests.clear()
    backend.answers.clear()


class Peer:
    """A connection that has sent its connect command."""

    def __init__(self, server, **connect):
        self.raw, self.id = Raw(server.port), 0
        self.first = self.command("connect", **connect)

    def command(self, method, /, **parameters):
        self.id += 1
        self.raw.send_json({"id": self.id, method: parameters})
        while True:
            got = self.raw.next()
            if isinstance(got, tuple) or got.get("id") == self.id:
                return got


def test_a_login_has_what_the_back_end_says(server, backend):
    backend.answers["connect"] = {"result": {
        "user": "42", "info": {"name": "Ann"}, "data": {"hello": 1}, "meta": {"tenant": 5}, "channels": ["room:1"],
        "subs": {"recov:1": {"override": {"presence": {"value": True}}, "data": {"first": True}}},
    }}
    peer = Peer(server, name="app", version="1.2", data={"a": 1}, headers={"x-emu": "e", "cookie": "spoofed=1"})
    reply = peer.first["connect"]
    assert reply["data"] == {"hello": 1}
    assert set(reply["subs"]) == {"room:1", "recov:1"} and reply["subs"]["recov:1"]["data"] == {"first": True}
    headers, body = backend.seen("connect")[0]
    assert {k: body[k] for k in ("transport", "protocol", "encoding", "name", "version", "data")} == {
        "transport": "websocket", "protocol": "json", "encoding": "json", "name": "app", "version": "1.2", "data": {"a": 1}}
    assert body["client"] == reply["client"] and "user" not in body
    assert headers["X-Key"] == CANARY and headers["X-Emu"] == "e"
    assert headers["Cookie"] is None, "a header of the connect command is not one of the request"
    presence = server.api("presence", channel="room:1")["presence"]
    assert [member["conn_info"] for member in presence.values()] == [{"name": "Ann"}]
    assert peer.command("rpc", method="m", data={"x": 1})["rpc"] == {}
    assert backend.seen("rpc")[0][1]["meta"] == {"tenant": 5}


def test_clients_of_an_sdk_subscribe_publish_and_call(server, backend):
    backend.answers["subscribe"] = {"result": {"info": {"role": "x"}, "data": {"d": 1}}}
    backend.answers["publish"] = lambda handler, body: handler.give(json.dumps({"result": {"data": {"seen": body["data"]}}}).encode())
    backend.answers["rpc"] = lambda handler, body: handler.give(json.dumps({"result": {"data": {"method": body["method"], "user": body["user"]}}}).encode())

    async def go():
        got = asyncio.Queue()

        class Publications(SubscriptionEventHandler):
            async def on_publication(self, ctx):
                await got.put(ctx.pub.data)

        client = Client(server.ws)
        await client.connect()
        await client.ready(5)
        subscription = client.new_subscription("asked:sdk", events=Publications())
        await subscription.subscribe()
        await subscription.ready(5)
        await subscription.publish({"n": 1})
        assert await asyncio.wait_for(got.get(), 5) == {"seen": {"n": 1}}
        result = await client.rpc("hello", {})
        assert result.data == {"method": "hello", "user": "7"}
        backend.answers["rpc"] = {"error": {"code": 1234, "message": "no"}}
        with pytest.raises(ReplyError) as refused:
            await client.rpc("hello", {})
        assert refused.value.code == 1234
        await client.disconnect()

    asyncio.run(go())
    assert backend.seen("subscribe")[0][1]["channel"] == "asked:sdk"


def broken(handler, body):
    """Half an answer, and then nothing."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\"")
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def redirect(status):
    return lambda handler, body: handler.give(b"", status, Location="/elsewhere")


def slow(handler, body):
    time.sleep(1)
    with contextlib.suppress(OSError):
        handler.give(b'{"result":{}}')


ILL = {
    "status 500": lambda handler, body: handler.give(b'{"result":{}}', 500),
    "status 201": lambda handler, body: handler.give(b'{"result":{}}', 201),
    "a redirect": redirect(307),
    "garbage": lambda handler, body: handler.give(b"<html>"),
    "nothing": lambda handler, body: handler.give(b""),
    "too much": lambda handler, body: handler.give(b'{"result":{"data":"' + b"x" * (1 << 20) + b'"}}'),
    "a bomb": lambda handler, body: handler.give(gzip.compress(b" " * (64 << 20)), Content_Encoding="gzip"),
    "a wrong type": lambda handler, body: handler.give(b'{"result":{"b64data":5,"expire_at":"x","user":5}}'),
    "no HTTP": lambda handler, body: handler.wfile.write(b"hello\r\n\r\n"),
    "half an answer": broken,
    "no answer": lambda handler, body: handler.connection.shutdown(socket.SHUT_RDWR),
    "slow": slow,
    "a code that no close frame holds": lambda handler, body: handler.give(b'{"disconnect":{"code":70000,"reason":"x"}}'),
}


@pytest.mark.parametrize("ill", ILL)
def test_a_back_end_that_is_ill_costs_its_own_requests_only(server, backend, ill):
    if ill == "a redirect":
        backend.answers["connect"] = ILL[ill]
        assert Peer(server).first["error"] == INTERNAL
        assert all("elsewhere" not in path for path, _, _ in backend.requests), "nothing follows a redirect"
        backend.answers.clear()
    peer = Peer(server)
    assert "connect" in peer.first
    for event, command in [("rpc", ("rpc", {"method": "m", "data": {}})), ("subscribe", ("subscribe", {"channel": "asked:ill"})),
                           ("publish", ("publish", {"channel": "asked:ill", "data": {}}))]:
        if ill == "a wrong type" and event == "publish":
            backend.answers[event] = lambda handler, body: handler.give(b'{"result":{"b64data":5}}')
        else:
            backend.answers[event] = ILL[ill]
        before = len(backend.seen(event))
        method, parameters = command
        assert peer.command(method, **parameters)["error"] == INTERNAL, event
        assert len(backend.seen(event)) == before + 1, "asked once"
    backend.answers["connect"] = ILL[ill]
    assert Peer(server).first["error"] == INTERNAL
    # Whatever else the connection does goes on.
    assert "subscribe" in peer.command("subscribe", channel="room:1")
    backend.answers.clear()
    assert "rpc" in peer.command("rpc", method="m", data={})


def test_statuses_stand_for_codes(server, backend):
    for status, expected in [(404, {"code": 1404, "message": "not here"}), (302, {"code": 1302, "message": "moved"})]:
        backend.answers["rpc"] = backend.answers["connect"] = lambda handler, body: handler.give(b"x", status)
        assert Peer(server).first["error"] == expected
        backend.answers.pop("connect")
        assert Peer(server).command("rpc", method="m", data={})["error"] == expected
    backend.answers["rpc"] = lambda handler, body: handler.give(b"x", 401)
    assert Peer(server).command("rpc", method="m", data={}) == ("close", 4501, "go away")


def test_errors_and_disconnects_are_the_back_ends(server, backend):
    for event, command in [("rpc", ("rpc", {"method": "m", "data": {}})), ("subscribe", ("subscribe", {"channel": "asked:e"})),
                           ("publish", ("publish", {"channel": "asked:e", "data": {}}))]:
        peer = Peer(server)
        backend.answers[event] = {"error": {"code": 1000, "message": "no", "temporary": True}}
        assert peer.command(command[0], **command[1])["error"] == {"code": 1000, "message": "no", "temporary": True}
        backend.answers[event] = {"result": {}, "error": {"code": 1, "message": "x"}, "disconnect": {"code": 4400, "reason": "bye"}}
        assert peer.command(command[0], **command[1]) == ("close", 4400, "bye")
    backend.answers["connect"] = {}
    assert Peer(server).first == ("close", 3501, "bad request")


def expiring(seconds):
    return lambda handler, body: handler.give(json.dumps({"result": {"user": "7", "expire_at": int(time.time()) + seconds}}).encode())


def until(predicate, what, timeout=20):
    deadline = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_a_refresh_prolongs_or_ends_a_login(server, backend):
    backend.answers["connect"] = expiring(1)
    backend.answers["refresh"] = lambda handler, body: handler.give(json.dumps({"result": {"expire_at": int(time.time()) + 2, "info": {"n": 2}}}).encode())
    peer = Peer(server)
    assert "expires" not in peer.first["connect"], "the client does not learn of it"
    assert "subscribe" in peer.command("subscribe", channel="room:r")
    until(lambda: backend.seen("refresh"), "a refresh")
    assert backend.seen("refresh")[0][1]["user"] == "7"
    until(lambda: [m.get("conn_info") for m in server.api("presence", channel="room:r")["presence"].values()] == [{"n": 2}], "the new info")
    backend.answers["refresh"] = {"error": {"code": 1000, "temporary": True}}
    assert peer.raw.until_close()[-1] == ("close", 3005, "connection expired")


def test_a_refresh_replaces_permissions(server, backend):
    caps = lambda *channels: [{"channels": list(channels), "allow": ["sub", "pub"]}]
    at = lambda seconds: int(time.time()) + seconds
    backend.answers["connect"] = lambda handler, body: handler.give(json.dumps({"result": {"user": "7", "expire_at": at(1), "caps": caps("closed:a", "closed:b")}}).encode())
    backend.answers["refresh"] = lambda handler, body: handler.give(json.dumps({"result": {"expire_at": at(60), "caps": caps("closed:b", "closed:c")}}).encode())
    peer = Peer(server)
    for channel in ("closed:a", "closed:b"):
        assert "subscribe" in peer.command("subscribe", channel=channel)
    push = peer.raw.next()["push"]
    assert (push["channel"], push["unsubscribe"]["code"]) == ("closed:a", 2501)
    assert "subscribe" in peer.command("subscribe", channel="closed:c")
    assert peer.command("subscribe", channel="closed:a")["error"]["code"] == 103
    assert "publish" in peer.command("publish", channel="closed:b", data={})


@pytest.mark.parametrize("ill", ["status 500", "garbage", "slow", "no answer"])
def test_a_refresh_that_cannot_be_asked_is_put_off(server, backend, ill):
    backend.answers["connect"] = expiring(1)
    backend.answers["refresh"] = ILL[ill]
    peer = Peer(server)
    until(lambda: backend.seen("refresh"), "a refresh")
    # Longer than the grace of an expired login, and no second question in that time.
    time.sleep(2.5)
    assert "subscribe" in peer.command("subscribe", channel="room:1")
    assert len(backend.seen("refresh")) == 1


def test_a_slow_refresh_outlasts_the_grace():
    backend = Backend()
    made = settings(backend, timeout="1500ms")
    made["client"]["expired_close_delay"] = made["client"]["expired_sub_close_delay"] = "1s"
    with Server(made) as server:
        at = lambda seconds: {"result": {"user": "7", "expire_at": int(time.time()) + seconds}}
        backend.answers["connect"] = backend.answers["subscribe"] = lambda handler, body: handler.give(json.dumps(at(1)).encode())
        backend.answers["refresh"] = backend.answers["sub_refresh"] = lambda handler, body: time.sleep(3)
        peer = Peer(server)
        assert "subscribe" in peer.command("subscribe", channel="asked:slow")
        until(lambda: backend.seen("refresh") and backend.seen("sub_refresh"), "the questions")
        time.sleep(2.5)
        assert "subscribe" in peer.command("subscribe", channel="room:1")
        assert server.api("presence", channel="asked:slow")["presence"]
    backend.shutdown()


def test_a_subscription_is_refreshed_or_ends(server, backend):
    at = lambda seconds: {"result": {"expire_at": int(time.time()) + seconds}}
    backend.answers["subscribe"] = lambda handler, body: handler.give(json.dumps(at(1)).encode())
    backend.answers["sub_refresh"] = lambda handler, body: handler.give(json.dumps(at(2)).encode())
    peer = Peer(server)
    assert peer.command("subscribe", channel="asked:s")["subscribe"] == {}
    until(lambda: backend.seen("sub_refresh"), "a refresh")
    assert backend.seen("sub_refresh")[0][1]["channel"] == "asked:s"
    backend.answers["sub_refresh"] = {}
    push = peer.raw.next()["push"]
    assert (push["channel"], push["unsubscribe"]["code"]) == ("asked:s", 2501)


def test_an_open_breaker_spares_the_back_end():
    backend = Backend()
    options = {"breaker_failures": 3, "breaker_delay": "1s", "timeout": "300ms"}
    with Server(settings(backend, **options)) as server:
        peer = Peer(server)
        backend.answers["rpc"] = lambda handler, body: handler.connection.shutdown(socket.SHUT_RDWR)
        for _ in range(10):
            assert peer.command("rpc", method="m", data={})["error"] == INTERNAL
        assert len(backend.seen("rpc")) == 3
        assert "subscribe" in peer.command("subscribe", channel="asked:other"), "others go on"
        backend.answers.clear()
        until(lambda: "rpc" in peer.command("rpc", method="m", data={}), "the probe")
        assert 4 <= len(backend.seen("rpc")) <= 5
        metrics = httpx.get(f"{server.http}/metrics").text
        row = re.search(r'spinward_proxy_failures_total{protocol="http",type="rpc",name="default",reason="breaker_open"} (\d+)', metrics)
        assert int(row[1]) >= 7
        assert 'centrifugo_proxy_errors{protocol="http",type="rpc",name="default"}' in metrics
    backend.shutdown()


def test_a_full_queue_refuses_at_once():
    backend = Backend()
    with Server(settings(backend, concurrency=1, queue_size=1, timeout="2s")) as server:
        backend.answers["rpc"] = slow
        peers = [Peer(server) for _ in range(4)]
        begun = time.monotonic()
        for peer in peers:
            peer.raw.send_json({"id": 50, "rpc": {"method": "m", "data": {}}})
        replies = [peer.raw.next() for peer in peers]
        assert sum("error" in reply for reply in replies) >= 2, replies
        assert time.monotonic() - begun < 3
    backend.shutdown()


def test_connects_are_spread_over_time():
    backend = Backend()
    made = settings(backend, timeout="3s")
    made["client"]["proxy"]["connect"]["rate_limit"] = 5
    with Server(made) as server:
        begun = time.monotonic()
        peers = [Raw(server.port) for _ in range(12)]
        for peer in peers:
            peer.send_json({"id": 1, "connect": {}})
        assert all("connect" in peer.next() for peer in peers)
        # Five at once, one more, and the others at five a second.
        assert 0.9 < time.monotonic() - begun < 3
    backend.shutdown()


CHANNELS = [f"asked:{n}" for n in range(50)]


class Together:
    """Answers to subscribes, whether they come one by one or together; the largest number of requests at once."""

    def __init__(self, backend, delay=0.0):
        self.lock, self.now, self.most, self.delay = threading.Lock(), 0, 0, delay
        backend.answers["subscribe"] = self

    def decide(self, channel):
        if channel.endswith("7"):
            return {"error": {"code": 403, "message": channel}}
        return {"result": {"data": {"for": channel}}}

    def __call__(self, handler, body):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.delay)
        batch = body.get("batch")
        answer = self.decide(body["channel"]) if batch is None else {"result": {"batch": [self.decide(one["channel"]) for one in batch]}}
        with self.lock:
            self.now -= 1
        handler.give(json.dumps(answer).encode())


def subscribe_all(peer, channels, more=()):
    commands = [{"id": 100 + n, "subscribe": {"channel": channel}} for n, channel in enumerate(channels)] + list(more)
    peer.raw.send(frame("\n".join(json.dumps(command) for command in commands)))
    replies = []
    while len(replies) < len(commands):
        got = peer.raw.next()
        if isinstance(got, tuple) or "id" in got:
            replies.append(got)
    return replies


def is_decided(reply, channel):
    if channel.endswith("7"):
        return reply.get("error", {}).get("code") == 403 and reply["error"]["message"] == channel
    return reply.get("subscribe", {}).get("data") == {"for": channel}


def test_the_subscribes_of_a_message_cost_one_request():
    backend = Backend()
    with Server(settings(backend, batch=64)) as server:
        Together(backend)
        peer = Peer(server)
        replies = subscribe_all(peer, CHANNELS, [{"id": 900, "rpc": {"method": "m", "data": {}}}])
        assert [reply["id"] for reply in replies] == [*range(100, 150), 900], "in their order"
        assert all(is_decided(reply, channel) for reply, channel in zip(replies, CHANNELS))
        assert "rpc" in replies[-1]
        asked = backend.seen("subscribe")
        assert len(asked) == 1 and [one["channel"] for one in asked[0][1]["batch"]] == CHANNELS
        assert {"client", "user", "transport", "meta"} - {"meta"} <= asked[0][1].keys() and "channel" not in asked[0][1]
        assert len(server.api("presence", channel="asked:1")["presence"]) == 1
        assert not server.api("presence", channel="asked:7")["presence"]
        # A single one is asked about as ever.
        assert is_decided(peer.command("subscribe", channel="asked:single"), "asked:single")
        assert backend.seen("subscribe")[-1][1]["channel"] == "asked:single"
    backend.shutdown()


def test_a_batch_is_bounded_and_keeps_out_what_is_refused_anyway():
    backend = Backend()
    with Server(settings(backend, batch=20)) as server:
        Together(backend)
        peer = Peer(server)
        assert is_decided(peer.command("subscribe", channel="asked:0"), "asked:0")
        backend.requests.clear()
        channels = ["asked:1", "asked:2", "asked:1", "room:a", "asked:3", "asked:0", *CHANNELS[4:]]
        replies = subscribe_all(peer, channels)
        assert [reply["id"] for reply in replies] == [*range(100, 100 + len(channels))]
        codes = [reply.get("error", {}).get("code", 0) for reply in replies]
        assert codes[:6] == [0, 0, 105, 0, 0, 105]
        assert all(is_decided(reply, channel) for reply, channel in zip(replies[6:], channels[6:]))
        batches = [[one["channel"] for one in body.get("batch", [body])] for _, body in backend.seen("subscribe")]
        assert batches[0] == ["asked:1", "asked:2"] and all(len(batch) <= 20 for batch in batches)
        assert len([channel for batch in batches for channel in batch]) == 3 + 46
    backend.shutdown()


@pytest.mark.parametrize("ill", ["status 500", "garbage", "slow", "no answer", "too much"])
def test_a_batch_that_fails_fails_as_a_whole(ill):
    backend = Backend()
    with Server(settings(backend, batch=64)) as server:
        backend.answers["subscribe"] = ILL[ill]
        peer = Peer(server)
        replies = subscribe_all(peer, CHANNELS[:5])
        assert [reply["error"] for reply in replies] == [INTERNAL] * 5 and len(backend.seen("subscribe")) == 1
        Together(backend)
        assert all(is_decided(*one) for one in zip(subscribe_all(peer, CHANNELS[:5]), CHANNELS))
    backend.shutdown()


def test_a_connection_that_ends_during_a_batch_leaves_nothing():
    backend = Backend()
    with Server(settings(backend, batch=64)) as server:
        Together(backend, delay=0.3)
        peer = Peer(server)
        peer.raw.send(frame("\n".join(json.dumps({"id": 9 + n, "subscribe": {"channel": c}}) for n, c in enumerate(CHANNELS))))
        until(lambda: backend.seen("subscribe"), "the question")
        peer.raw.sock.close()
        time.sleep(0.6)
        assert not server.api("presence", channel="asked:1")["presence"]
        assert server.api("channels", pattern="asked:*")["channels"] == {}
    backend.shutdown()


@pytest.mark.parametrize("concurrency", [0, 8])
def test_without_a_batch_each_subscribe_is_a_request(concurrency):
    backend = Backend()
    made = settings(backend)
    made["client"]["concurrency"] = concurrency
    with Server(made) as server:
        together = Together(backend, delay=0.03)
        peer = Peer(server)
        replies = subscribe_all(peer, CHANNELS)
        assert sorted(reply["id"] for reply in replies) == [*range(100, 150)]
        assert all(is_decided(reply, CHANNELS[reply["id"] - 100]) for reply in replies)
        assert len(backend.seen("subscribe")) == 50
        assert together.most == 1 if concurrency == 0 else 2 <= together.most <= concurrency, together.most
    backend.shutdown()


def test_commands_overtake_each_other_where_they_may():
    backend = Backend()
    made = settings(backend)
    made["client"]["concurrency"] = 3
    with Server(made) as server:
        peer = Peer(server)
        backend.answers["subscribe"] = lambda handler, body: (time.sleep(0.3), handler.give(b'{"result":{}}'))
        for command in [{"id": 5, "subscribe": {"channel": "asked:x"}}, {"id": 6, "subscribe": {"channel": "asked:x"}},
                        {"id": 7, "rpc": {"method": "m", "data": {}}}, {"id": 8, "presence": {"channel": "room:a"}}]:
            peer.raw.send_json(command)
        replies = [peer.raw.next() for _ in range(4)]
        assert [reply["id"] for reply in replies][-1] == 5, replies
        assert replies[0]["error"]["code"] == 105, "the channel is asked for already"
        assert len(backend.seen("subscribe")) == 1
    backend.shutdown()


def test_secrets_of_proxies_stay_out_of_the_log(server, backend):
    backend.answers["rpc"] = lambda handler, body: handler.give(CANARY.encode(), 500)
    peer = Peer(server, data={"t": CANARY}, headers={"x-emu": CANARY})
    peer.command("rpc", method="m", data={"t": CANARY})
    server.await_log("proxy request failed")
    assert CANARY not in server.log()


def test_explain_names_the_proxy_and_calls_it_when_asked_to(server, backend):
    backend.answers["subscribe"] = {"result": {"data": {"secret": CANARY}, "expire_at": int(time.time()) + 60}}
    asked = {"channel": "asked:e", "user": "7", "headers": {"Cookie": CANARY}}
    told = server.api("explain", action="subscribe", **asked)
    assert told["verdict"] == "ask" and told["rule"] == "subscribe_proxy"
    proxy = told["proxy"]
    assert (proxy["event"], proxy["name"], proxy["protocol"], proxy["breaker"]) == ("subscribe", "default", "http", "closed")
    assert proxy["endpoint"] == backend.url("subscribe") and proxy["headers"] == ["cookie", "x-key"]
    assert proxy["request"]["channel"] == "asked:e" and proxy["request"]["user"] == "7" and "took_ms" not in proxy
    assert not backend.requests, "a dry run calls nobody"
    told = server.api("explain", action="subscribe", ask_proxy=True, **asked)
    assert told["verdict"] == "allow" and told["proxy"]["took_ms"] >= 0 and "expire_at" in told["proxy"]["answer"]["result"]
    assert len(backend.seen("subscribe")) == 1 and CANARY not in json.dumps(told)
    backend.answers["publish"] = {"error": {"code": 1234, "message": "no"}}
    told = server.api("explain", action="publish", ask_proxy=True, **asked)
    assert (told["verdict"], told["code"]) == ("error", 1234) and told["proxy"]["answer"]["error"]["code"] == 1234
    backend.answers["publish"] = ILL["garbage"]
    told = server.api("explain", action="publish", ask_proxy=True, **asked)
    assert (told["verdict"], told["code"]) == ("error", 100) and "malformed" in told["proxy"]["failure"]
    told = server.api("explain", action="connect")
    assert told["verdict"] == "ask" and told["proxy"]["event"] == "connect" and not backend.seen("connect")
    backend.answers["connect"] = {"result": {"user": "42", "channels": ["room:1"], "meta": {"secret": CANARY}}}
    told = server.api("explain", action="connect", ask_proxy=True)
    assert (told["verdict"], told["user"]) == ("allow", "42")
    assert told["proxy"]["answer"]["result"]["channels"] == ["room:1"] and CANARY not in json.dumps(told)
    backend.answers["connect"] = {"disconnect": {"code": 4500, "reason": "bye"}}
    told = server.api("explain", action="connect", ask_proxy=True)
    assert (told["verdict"], told["code"]) == ("disconnect", 4500)
    refused = server.api("explain", action="subscribe", channel="closed:x", user="7")
    assert refused["code"] == 103 and "proxy" not in refused


def test_explain_names_the_proxies_that_prolong(server, backend):
    at = lambda seconds: {"result": {"expire_at": int(time.time()) + seconds, "info": {"secret": CANARY}}}
    for action, channel, ends in (("refresh", "", ("disconnect", 3005)), ("sub_refresh", "asked:e", ("error", 2501))):
        asked = {"action": action, "channel": channel, "user": "7", "headers": {"Cookie": CANARY}}
        told = server.api("explain", **asked)
        assert (told["verdict"], told["rule"], told["user"]) == ("ask", f"{action}_proxy", "7")
        proxy = told["proxy"]
        assert (proxy["event"], proxy["name"], proxy["breaker"]) == (action, "default", "closed") and "took_ms" not in proxy
        assert proxy["endpoint"] == backend.url(action) and proxy["headers"] == ["cookie", "x-key"]
        assert proxy["request"]["user"] == "7" and proxy["request"].get("channel", "") == channel
        assert not backend.seen(action), "a dry run calls nobody"
        backend.answers[action] = at(60)
        told = server.api("explain", ask_proxy=True, **asked)
        assert told["verdict"] == "allow" and "code" not in told and CANARY not in json.dumps(told)
        assert told["proxy"]["took_ms"] >= 0 and told["proxy"]["answer"]["result"]["expire_at"] > time.time()
        assert [body["user"] for _, body in backend.seen(action)] == ["7"]
        backend.answers[action] = {"result": {"expired": True}}
        told = server.api("explain", ask_proxy=True, **asked)
        assert (told["verdict"], told["code"]) == ends and told["proxy"]["answer"] == {"result": {"expired": True}}
        backend.answers[action] = ILL["garbage"]
        told = server.api("explain", ask_proxy=True, **asked)
        assert told["verdict"] == "allow" and "60 seconds" in told["reason"] and "malformed" in told["proxy"]["failure"]
    # A client that has a token prolongs its subscription by it, and a login that a proxy prolongs takes no token.
    told = server.api("explain", action="sub_refresh", channel="asked:e", user="7", subscription_token="x")
    assert "proxy" not in told and told["code"] == 3500
    told = server.api("explain", action="refresh", token="x")
    assert (told["verdict"], told["code"]) == ("disconnect", 3501) and "proxy" not in told
    # Without a proxy in the namespace, there is none to name.
    told = server.api("explain", action="sub_refresh", channel="room:1", user="7")
    assert "proxy" not in told and told["verdict"] != "allow"


def test_explain_names_the_proxies_that_are_notified(backend):
    made = settings(backend)
    cached = {"history_size": 1, "history_ttl": "60s", "force_recovery_mode": "cache", "allow_subscribe_for_client": True, "cache_empty_proxy_enabled": True}
    made["channel"]["namespaces"] += [
        {"name": "cached", **cached},
        {"name": "both", **cached, "state_proxy_enabled": True},
        {"name": "ends", "state_proxy_enabled": True, "state_proxy_name": "other", "state_events": ["vacated"], "subscribe_proxy_enabled": True},
    ]
    made["channel"]["proxy"] |= {event: {"endpoint": backend.url(event), "http": {"static_headers": {"X-Key": CANARY}}} for event in ("cache_empty", "state")}
    made["proxies"] = [{"name": "other", "endpoint": backend.url("other")}]
    with Server(made) as server:
        def notified(channel, **more):
            told = server.api("explain", **{"action": "subscribe", "channel": channel, "user": "7", **more})
            assert CANARY not in json.dumps(told)
            return {proxy["event"]: proxy for proxy in told.get("notified", [])}

        def types(proxy):
            return [event["type"] for event in proxy["request"]["events"]]

        only = notified("cached:1", ask_proxy=True)
        assert set(only) == {"cache_empty"}
        proxy = only["cache_empty"]
        assert proxy["endpoint"] == backend.url("cache_empty") and proxy["request"] == {"channel": "cached:1"}
        assert (proxy["name"], proxy["headers"], proxy["breaker"]) == ("default", ["x-key"], "closed")
        both = notified("both:1")
        assert set(both) == {"cache_empty", "state"} and types(both["state"]) == ["occupied", "vacated"]
        assert {event["channel"] for event in both["state"]["request"]["events"]} == {"both:1"}
        ends = notified("ends:1", ask_proxy=True)
        assert set(ends) == {"state"} and types(ends["state"]) == ["vacated"] and ends["state"]["endpoint"] == backend.url("other")
        assert not notified("room:1") and not notified("asked:1") and not notified("both:1", action="publish")
        backend.answers["subscribe"] = {"error": {"code": 1234, "message": "no"}}
        assert not notified("ends:1", ask_proxy=True), "a refused subscribe notifies nobody"
        assert {path.rsplit("/", 1)[-1] for path, *_ in backend.requests} == {"subscribe"}, "notifications are not rehearsed"
        shell = [BIN, "-c", str(server.file), "explain", "--user", "7"]
        text = subprocess.run([*shell, "--channel", "both:1"], capture_output=True, text=True, timeout=20, check=True).stdout
        for event in ("cache_empty", "state"):
            assert f'  may notify the {event} proxy "default" at {backend.url(event)}, circuit breaker closed\n    with {{' in text
        text = subprocess.run([*shell, "--channel", "asked:1", "--action", "sub_refresh"], capture_output=True, text=True, timeout=20, check=True).stdout
        assert f'  asks the sub_refresh proxy "default" at {backend.url("sub_refresh")}, circuit breaker closed\n' in text and "may notify" not in text


CHAPTER = (ROOT / "docs/manual/event-proxies.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not IS_SPINWARD, reason="the chapter is Spinward's")
def test_the_back_end_of_the_manual_runs():
    """The Python block of the chapter, as it stands, with its configuration."""
    code = re.search(r"<!-- backend: python -->\n```python\n(.*?)```", CHAPTER, re.DOTALL)[1]
    options = json.loads(re.search(r"<!-- config: proxies -->\n```json\n(.*?)```", CHAPTER, re.DOTALL)[1])
    port = free_port()
    assert "3000" in code
    namespace = {"__name__": "backend"}
    exec(compile(code, "backend", "exec"), namespace)  # noqa: S102
    http = namespace["serve"](port)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    text = json.dumps(options).replace("127.0.0.1:3000", f"127.0.0.1:{port}")
    with Server(json.loads(text)) as server:
        raw = Raw(server.port)
        raw.send_json({"id": 1, "connect": {"data": {"name": "ann"}}})
        assert "connect" in raw.next()
        raw.send_json({"id": 2, "subscribe": {"channel": "team:blue"}})
        assert "subscribe" in raw.next()
        raw.send_json({"id": 3, "subscribe": {"channel": "team:red"}})
        assert raw.next()["error"]["code"] == 403
        raw.send_json({"id": 4, "rpc": {"method": "time", "data": {}}})
        assert raw.next()["rpc"]["data"]["now"] > 0
        anonymous = Raw(server.port)
        anonymous.send_json({"id": 1, "connect": {}})
        assert anonymous.next() == ("close", 4501, "log in first")
    http.shutdown()
