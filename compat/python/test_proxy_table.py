"""Every proxy, over HTTP and over gRPC, against every way in which a back end fails: what the client sees, and what the
back end has received. The user of a connection names the failure, so that one server is enough for all rows."""
import gzip
import json
import socket
import struct
import threading
import time
from concurrent import futures

import grpc
import pytest

from server import IS_SPINWARD, Server, config, free_port
from test_event_proxies import INTERNAL, Backend as Http, Peer, broken, redirect, until
from test_event_streams import field, varint
from wire import Raw

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="options and bounds of Spinward")

EVENTS = ["connect", "refresh", "subscribe", "sub_refresh", "publish", "rpc"]
METHODS = {"connect": "Connect", "refresh": "Refresh", "subscribe": "Subscribe", "sub_refresh": "SubRefresh", "publish": "Publish", "rpc": "RPC"}
SERVICE = "centrifugal.centrifugo.proxy.CentrifugoProxy"
TIMEOUT = 1.0


def sleeps(handler, body):
    time.sleep(3 * TIMEOUT)
    handler.close_connection = True


HTTP = {
    "ok": None,
    "error": {"error": {"code": 1000, "message": "no"}},
    "disconnect": {"disconnect": {"code": 4500, "reason": "bye"}},
    "status 400": lambda handler, body: handler.give(b'{"result":{}}', 400),
    "status 404": lambda handler, body: handler.give(b'{"result":{}}', 404),
    "status 500": lambda handler, body: handler.give(b'{"result":{}}', 500),
    "status 503": lambda handler, body: handler.give(b"", 503),
    "status 204": lambda handler, body: handler.give(b"", 204),
    "redirect 301": redirect(301),
    "redirect 307": redirect(307),
    "garbage": lambda handler, body: handler.give(b"<html>"),
    "empty": lambda handler, body: handler.give(b""),
    "oversized": lambda handler, body: handler.give(b'{"result":{"data":"' + b"x" * (1 << 20) + b'"}}'),
    "a bomb": lambda handler, body: handler.give(gzip.compress(b" " * (64 << 20)), Content_Encoding="gzip"),
    "half a reply": broken,
    "no reply": lambda handler, body: handler.connection.shutdown(socket.SHUT_RDWR),
    "no HTTP": lambda handler, body: handler.wfile.write(b"hello\r\n\r\n"),
    "slow": sleeps,
}

STATUSES = {code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}


class Grpc:
    """Answers by the user in the request, or by the name of the client in a connect."""

    def __init__(self):
        self.requests = []
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
        handlers = {name: grpc.unary_unary_rpc_method_handler(lambda request, context, event=event: self.serve(event, request, context)) for event, name in METHODS.items()}
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def serve(self, event, request, context):
        row = fields(request).get(12 if event == "connect" else 10, b"").decode()
        self.requests.append((event, row))
        event_of, _, failure = row.partition("/")
        if event_of != event:
            # The way there: everything is allowed, and ends soon.
            ends = b"\x10" + varint(int(time.time()) + 2) if event_of == "refresh" else b""
            if event == "connect":
                return field(1, field(1, row.encode()) + ends)
            return field(1, b"\x08" + varint(int(time.time()) + 2)) if event == "subscribe" and event_of == "sub_refresh" else field(1, b"")
        if failure in STATUSES:
            context.abort(STATUSES[failure], "no")
        if failure == "slow":
            time.sleep(3 * TIMEOUT)
        return {
            "garbage": b"\xff\xff\xff",
            "oversized": field(1, field(3 if event == "connect" else 1, b"x" * (2 << 20))),
            "error": field(2, b"\x08\xe8\x07" + field(2, b"no")),
            "disconnect": field(3, b"\x08" + varint(4500) + field(2, b"bye")),
            "a code that no close frame holds": field(3, b"\x08" + varint(70000)),
        }.get(failure, field(1, b""))


def fields(message):
    """The fields of bytes in a message."""
    out, at = {}, 0
    while at < len(message):
        key, at = number(message, at)
        if key & 7 == 2:
            size, at = number(message, at)
            out[key >> 3] = message[at:at + size]
            at += size
        else:
            _, at = number(message, at)
    return out


def number(message, at):
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at


class Rows(Http):
    """The HTTP back end, by the same rules."""

    def __init__(self, failures):
        super().__init__()
        self.failures = failures
        for event in EVENTS:
            self.answers[event] = lambda handler, body, event=event: self.answer(event, handler, body)

    def answer(self, event, handler, body):
        row = body.get("name") if event == "connect" else body.get("user")
        event_of, _, failure = (row or "").partition("/")
        if event_of == event and self.failures[failure] is not None:
            told = self.failures[failure]
            return told(handler, body) if callable(told) else handler.give(json.dumps(told).encode())
        at = int(time.time()) + 2
        result = {}
        if event == "connect":
            result = {"user": row, **({"expire_at": at} if event_of == "refresh" else {})}
        elif event == "subscribe" and event_of == "sub_refresh":
            result = {"expire_at": at}
        elif event in ("refresh", "sub_refresh"):
            result = {"expire_at": at + 60}
        handler.give(json.dumps({"result": result}).encode())

    def count(self, event, row):
        return sum((body.get("name") if event == "connect" else body.get("user")) == row for _, body in self.seen(event))


def settings(endpoint, **options):
    proxy = lambda event: {"endpoint": endpoint(event), "timeout": f"{int(TIMEOUT * 1000)}ms", "breaker_failures": 0, **options}
    made = config(client={"proxy": {event: {"enabled": True, **proxy(event)} for event in ("connect", "refresh")}},
                  namespaces=[{"name": "asked", "subscribe_proxy_enabled": True, "publish_proxy_enabled": True, "sub_refresh_proxy_enabled": True}])
    made["channel"]["proxy"] = {event: proxy(event) for event in ("subscribe", "publish", "sub_refresh")}
    made["rpc"] = {"proxy": proxy("rpc"), "without_namespace": {"proxy_enabled": True}}
    return made


def act(server, event, failure):
    """Does what asks the proxy of this event, and gives what the client sees; a peer for an event that comes by itself."""
    peer = Peer(server, name=f"{event}/{failure}")
    if event == "connect":
        return peer.first
    assert "connect" in peer.first, (event, failure, peer.first)
    if event == "refresh":
        return peer
    if event in ("subscribe", "sub_refresh"):
        reply = peer.command("subscribe", channel="asked:x")
        return reply if event == "subscribe" else peer
    if event == "publish":
        return peer.command("publish", channel="asked:published", data={"a": 1})
    return peer.command("rpc", method="m", data={"a": 1})


def goes_on(peer, event):
    """A login, or a subscription, that could not be asked about is there still."""
    if "rpc" not in peer.command("rpc", method="alive", data={}):
        return False
    return event == "refresh" or peer.command("subscribe", channel="asked:x")["error"]["code"] == 105


def check(server, failures, answered, count):
    """Plays every row. `answered` are failures that are answers: they are passed on, or end what they are about."""
    waiting = {}
    for event in EVENTS:
        for failure in failures:
            seen = act(server, event, failure)
            if isinstance(seen, Peer):
                waiting[event, failure] = seen
            elif failure == "ok":
                assert event in seen, (event, failure, seen)
            elif failure == "error":
                assert seen["error"] == {"code": 1000, "message": "no"}, (event, failure, seen)
            elif failure == "disconnect":
                assert seen == ("close", 4500, "bye"), (event, failure, seen)
            else:
                assert seen.get("error") == INTERNAL, (event, failure, seen)
            if not isinstance(seen, Peer):
                assert count(event, f"{event}/{failure}") == 1, (event, failure, "asked once")
    unasked = lambda: [(event, failure) for event, failure in waiting if not count(event, f"{event}/{failure}")]
    deadline = time.monotonic() + 15
    while unasked():
        assert time.monotonic() < deadline, unasked()
        time.sleep(0.1)
    time.sleep(4 * TIMEOUT)
    for (event, failure), peer in waiting.items():
        assert count(event, f"{event}/{failure}") == 1, (event, failure, "asked once")
        if failure not in answered:
            assert goes_on(peer, event), (event, failure)
        elif event == "refresh":
            assert peer.raw.until_close()[-1][1] == 3005, (event, failure)
        else:
            got = peer.raw.next()
            assert got.get("push", {}).get("unsubscribe", {}).get("code") == 2501, (event, failure, got)


def test_over_http():
    backend = Rows(HTTP)
    with Server(settings(backend.url)) as server:
        check(server, HTTP, {"error", "disconnect"}, backend.count)
        assert all("elsewhere" not in path for path, _, _ in backend.requests), "no redirect is followed"
        assert all(body is not None for _, _, body in backend.requests), "nothing but POST"
    backend.shutdown()


def test_over_grpc():
    backend = Grpc()
    failures = ["error", "disconnect", "garbage", "oversized", "slow", "a code that no close frame holds", *STATUSES]
    with Server(settings(lambda event: f"grpc://127.0.0.1:{backend.port}")) as server:
        # To the end of a login or subscription every answer without a result is one.
        ends = {"error", "disconnect", "a code that no close frame holds"}
        check(server, failures, ends, lambda event, row: sum(one == (event, row) for one in backend.requests))
    backend.server.stop(0)


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + bytes([kind, flags]) + struct.pack("!I", stream) + payload


class Http2(threading.Thread):
    """Speaks as much HTTP/2 as it takes to break off: settings, then what `ends` sends once a request has come."""

    def __init__(self, ends):
        super().__init__(daemon=True)
        self.ends, self.requests = ends, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        peer.settimeout(5)
        reader = peer.makefile("rb")
        try:
            reader.read(24)
            peer.sendall(frame(4, 0, 0))
            while head := reader.read(9):
                length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                stream = int.from_bytes(head[5:], "big")
                reader.read(length)
                if kind == 4 and not flags & 1:
                    peer.sendall(frame(4, 1, 0))
                if kind == 0 and flags & 1:
                    self.requests += 1
                    self.ends(peer, stream)
        except OSError:
            pass


# A response whose head is `:status 200` and `content-type: application/grpc`, literally.
HEAD = b"\x88\x00\x0ccontent-type\x10application/grpc"


def goaway(last, code=0):
    return frame(7, 0, 0, struct.pack("!II", last, code))


BREAKS = {
    "goaway that leaves it out": lambda peer, stream: (peer.sendall(goaway(0)), peer.close()),
    "goaway that counts it": lambda peer, stream: (peer.sendall(goaway(stream)), peer.shutdown(socket.SHUT_RDWR)),
    "goaway with an error": lambda peer, stream: (peer.sendall(goaway(0, 11)), peer.close()),
    "reset": lambda peer, stream: peer.sendall(frame(3, 0, stream, struct.pack("!I", 2))),
    "refused stream": lambda peer, stream: peer.sendall(frame(3, 0, stream, struct.pack("!I", 7))),
    "half a message": lambda peer, stream: (peer.sendall(frame(1, 4, stream, HEAD) + frame(0, 0, stream, b"\0\0\0\0\x09\x0a")), peer.shutdown(socket.SHUT_RDWR)),
    "no trailers": lambda peer, stream: peer.sendall(frame(1, 4, stream, HEAD) + frame(0, 1, stream, b"\0\0\0\0\x02\x0a\0")),
    "status 503": lambda peer, stream: peer.sendall(frame(1, 5, stream, b"\x08\x03503")),
    "silence": lambda peer, stream: None,
}


@pytest.mark.parametrize("end", BREAKS)
def test_http2_that_breaks_off(end):
    backend = Http2(BREAKS[end])
    made = settings(lambda event: f"grpc://127.0.0.1:{backend.port}")
    made["client"]["proxy"].pop("connect")
    made["client"]["insecure"] = True
    with Server(made) as server:
        peer = Peer(server)
        for count, (event, command) in enumerate([("subscribe", {"channel": "asked:x"}), ("publish", {"channel": "asked:x", "data": {}}), ("rpc", {"method": "m", "data": {}})], 1):
            assert peer.command(event, **command)["error"] == INTERNAL, event
            assert backend.requests == count, "asked once"
        assert "subscribe" in peer.command("subscribe", channel="room:1"), "and nothing else is touched"
    backend.listener.close()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_listens(scheme):
    port = free_port()
    made = settings(lambda event: f"{scheme}://127.0.0.1:{port}")
    made["client"]["proxy"].pop("connect")
    made["client"]["insecure"] = True
    with Server(made) as server:
        peer = Peer(server)
        begun = time.monotonic()
        for event, command in [("subscribe", {"channel": "asked:x"}), ("publish", {"channel": "asked:x", "data": {}}), ("rpc", {"method": "m", "data": {}})]:
            assert peer.command(event, **command)["error"] == INTERNAL, event
        assert time.monotonic() - begun < 3 * TIMEOUT, "at once"


# What a reply may not do, however it was made.

def answer(backend, event, result):
    backend.answers[event] = {"result": result}


@pytest.fixture
def plain():
    backend = Http()
    made = settings(backend.url, http={"static_headers": {"X-Key": "constant", "X-Both": "constant"}}, http_headers=["X-Listed", "X-Both", "Connection", "Transfer-Encoding", "X-Hop"], emulated_headers=["X-Emu", "X-Both"])
    made["client"]["proxy"]["connect"]["timeout"] = "5s"
    made["client"]["subscribe_to_user_personal_channel"] = {"enabled": True}
    made["channel"]["without_namespace"]["allow_user_limited_channels"] = True
    with Server(made) as server:
        yield server, backend
    backend.shutdown()


def outcome(first):
    """What a login comes to, by the proxy or by a token."""
    if isinstance(first, tuple):
        return first
    return first["error"]["code"] if "error" in first else sorted(first["connect"]["subs"])


@pytest.mark.parametrize("channels", [["unknown:x"], ["room:\u00e9"], ["room:" + "x" * 300], [""], ["#2"], ["$private"], ["room:a", "room:a"], ["room:x#2"], []])
def test_subs_are_checked_like_those_of_a_token(plain, channels):
    server, backend = plain
    for shape in ({"channels": channels}, {"subs": {channel: {} for channel in channels}}):
        answer(backend, "connect", {"user": "1", **shape})
        by_proxy = outcome(Peer(server).first)
        by_token = outcome(Raw(server.port).login({"sub": "1", **shape}))
        assert by_proxy == by_token, shape
        if channels == ["unknown:x"]:
            assert by_proxy == 102


def test_a_personal_channel_of_another_user_is_the_back_ends_to_give(plain):
    server, backend = plain
    answer(backend, "connect", {"user": "1", "channels": ["#2"]})
    peer = Peer(server)
    # The back end may subscribe whom it wants to what it wants, as a token may; the own personal channel comes besides.
    assert set(peer.first["connect"]["subs"]) == {"#1", "#2"}
    # What a client may not: subscribe to the channel of another.
    answer(backend, "connect", {"user": "1"})
    assert Peer(server).command("subscribe", channel="#2")["error"]["code"] == 103


def test_many_subs_are_bounded_by_the_size_of_the_reply(plain):
    server, backend = plain
    subs = b",".join(b'"room:%d":{}' % n for n in range(10_000_000 // 14))
    backend.answers["connect"] = lambda handler, body: handler.give(b'{"result":{"user":"1","subs":{' + subs + b"}}}")
    before = memory(server)
    assert Peer(server).first["error"] == INTERNAL
    assert memory(server) - before < 64 << 20
    # As many as fit are more than a connection may have.
    answer(backend, "connect", {"user": "1", "channels": [f"room:{n}" for n in range(60_000)]})
    begun = time.monotonic()
    assert Peer(server).first[:2] == ("close", 3505)
    assert time.monotonic() - begun < 5 and server.alive()


def memory(server):
    with open(f"/proc/{server.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def upgrade(server, *lines):
    """A login over a WebSocket whose handshake has these header lines."""
    raw = Peer.__new__(Peer)
    class With(Raw):
        def __init__(self, port):
            self.sock = socket.create_connection(("127.0.0.1", port), timeout=5)
            self.sock.sendall((f"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n").encode()
                              + b"".join(line + b"\r\n" for line in lines) + b"\r\n")
            self._pending, self._buffer = [], b""
            while b"\r\n\r\n" not in self._buffer:
                self._fill()
            self.head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)

    raw.raw, raw.id = With(server.port), 0
    return raw


def sent(backend):
    headers, _ = backend.seen("connect")[-1]
    return headers


def test_headers_of_a_handshake(plain):
    server, backend = plain
    peer = upgrade(server, b"X-Listed: one", b"X-Listed: two", b"X-Unlisted: no", b"X-Hop: a", b"X-Both: edge")
    assert "connect" in peer.command("connect", headers={"x-listed": "spoofed", "x-emu": "emulated", "x-both": "emulated"})
    headers = sent(backend)
    assert headers.get_all("X-Listed") == ["one", "two"], "duplicates, in their order"
    assert headers["X-Unlisted"] is None and headers["X-Emu"] == "emulated" and headers["X-Key"] == "constant"
    assert headers.get_all("X-Both") == ["edge"], "the edge's goes before the client's, and that before the constant one"
    # Headers of a connection are never passed on, listed or not.
    assert "upgrade" not in (headers["Connection"] or "").lower() and headers["Transfer-Encoding"] is None


@pytest.mark.parametrize("value", ["a\r\nX-Key: forged", "a\nb", "a\rb", "a\0b"])
def test_a_line_break_in_an_emulated_header_fails_the_login(plain, value):
    server, backend = plain
    before = len(backend.requests)
    assert Peer(server, headers={"x-emu": value}).first["error"] == INTERNAL
    assert len(backend.requests) == before, "nothing is sent"
    assert "connect" in Peer(server, headers={"x-emu": "fine"}).first
    assert sent(backend).get_all("X-Key") == ["constant"]


def test_names_of_emulated_headers_cannot_be_forged(plain):
    server, backend = plain
    for name in ["x-listed", "X-Key", "x-emu: a\r\nx-key", "host", "content-length", "x-unlisted"]:
        assert "connect" in Peer(server, headers={name: "forged", "x-emu": "e"}).first, name
        headers = sent(backend)
        assert all("forged" not in value for value in headers.values()), name
