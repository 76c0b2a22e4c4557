"""The subscribe stream proxy: a gRPC back end in this process, and clients before the server."""
import asyncio
import queue
import threading
import time
from concurrent import futures

import grpc
import httpx
import pytest
from centrifuge import Client, SubscriptionEventHandler

from server import IS_SPINWARD, Server, config
from test_event_proxies import INTERNAL, Peer, until

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="options and bounds of Spinward")

SERVICE = "centrifugal.centrifugo.proxy.CentrifugoProxy"


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A field of bytes: by hand, so that it can be wrong."""
    return varint(number << 3 | 2) + varint(len(value)) + value


OPENED = field(1, field(1, b""))


def publication(data):
    return field(2, field(4, data))


class Stream:
    """One stream, as the back end sees it."""

    def __init__(self, context, requests):
        self.context, self.requests = context, requests
        self.outgoing, self.cancelled, self.sent, self.received = queue.Queue(), threading.Event(), 0, []
        context.add_callback(self.cancelled.set)

    def read(self):
        try:
            for message in self.requests:
                self.received.append(message)
        except grpc.RpcError:
            pass


class Backend:
    """Opens every stream with `first`, unless that is None, and sends what a test puts into its queue. None ends it."""

    def __init__(self):
        self.streams, self.first = [], OPENED
        self.server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
        self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {
            "SubscribeUnidirectional": grpc.unary_stream_rpc_method_handler(lambda request, context: self.serve([request], context)),
            "SubscribeBidirectional": grpc.stream_stream_rpc_method_handler(self.serve),
        })])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def serve(self, requests, context):
        stream = Stream(context, requests)
        threading.Thread(target=stream.read, daemon=True).start()
        self.streams.append(stream)
        if self.first is not None:
            yield self.first
        while not stream.cancelled.is_set():
            try:
                message = stream.outgoing.get(timeout=0.05)
            except queue.Empty:
                continue
            if message is None:
                return
            if isinstance(message, grpc.StatusCode):
                context.abort(message, "broken")
            yield message
            stream.sent += 1

    def opened(self, count=1):
        until(lambda: len(self.streams) >= count, f"{count} streams")
        return self.streams[count - 1]


@pytest.fixture
def backend():
    backend = Backend()
    yield backend
    backend.server.stop(0)


def settings(backend, **options):
    made = config(namespaces=[
        {"name": "feed", "subscribe_stream_proxy_enabled": True, "presence": True},
        {"name": "both", "subscribe_stream_proxy_enabled": True, "subscribe_stream_proxy_bidirectional": True},
    ], client={"insecure": True, "queue_max_size": 262144})
    made["channel"]["proxy"] = {"subscribe_stream": {"endpoint": f"grpc://127.0.0.1:{backend.port}", "timeout": "1s", **options}}
    made["prometheus"] = {"enabled": True}
    # A client that takes nothing at all is closed after this.
    made["websocket"] = {"write_timeout": "30s"}
    return made


@pytest.fixture
def server(backend):
    with Server(settings(backend)) as server:
        yield server


def metric(server, name):
    lines = httpx.get(f"{server.http}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


def open_streams(server):
    return metric(server, "spinward_proxy_open_streams")


def push(peer):
    while True:
        got = peer.raw.next()
        if isinstance(got, tuple) or "push" in got:
            return got if isinstance(got, tuple) else got["push"]


def test_a_subscriber_of_an_sdk_gets_its_own_stream(server, backend):
    async def go():
        got = asyncio.Queue()

        class Events(SubscriptionEventHandler):
            async def on_publication(self, ctx):
                await got.put(ctx.pub.data)

            async def on_unsubscribed(self, ctx):
                await got.put(ctx.code)

        client = Client(server.ws)
        await client.connect()
        subscription = client.new_subscription("both:sdk", events=Events())
        await subscription.subscribe()
        await subscription.ready(5)
        stream = await asyncio.to_thread(backend.opened)
        for n in range(3):
            stream.outgoing.put(publication(b'{"n":%d}' % n))
        assert [await asyncio.wait_for(got.get(), 5) for _ in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
        await subscription.publish({"mine": True})
        await asyncio.to_thread(until, lambda: any(b'"mine"' in message for message in stream.received[1:]), "the publication")
        stream.outgoing.put(None)
        assert await asyncio.wait_for(got.get(), 5) == 2000
        await client.disconnect()

    asyncio.run(go())


ENDS = {
    "unsubscribe": lambda server, peer: peer.command("unsubscribe", channel="feed:x"),
    "disconnect": lambda server, peer: peer.raw.sock.close(),
    "api unsubscribe": lambda server, peer: server.api("unsubscribe", user="", channel="feed:x"),
    "api disconnect": lambda server, peer: server.api("disconnect", user=""),
    "replaced": lambda server, peer: server.api("subscribe", user="", channel="feed:x"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_stream_is_cancelled_with_its_subscription(server, backend, end):
    peer = Peer(server)
    assert "subscribe" in peer.command("subscribe", channel="feed:x")
    stream = backend.opened()
    assert open_streams(server) == 1 and not stream.cancelled.is_set()
    ENDS[end](server, peer)
    assert stream.cancelled.wait(20), "cancelled at the back end"
    until(lambda: open_streams(server) == 0, "its place is free")
    if end == "unsubscribe":
        # Nothing of the former one follows, and another one is no different.
        assert "subscribe" in peer.command("subscribe", channel="feed:x")
        backend.opened(2).outgoing.put(publication(b"2"))
        assert push(peer)["pub"]["data"] == 2


def test_an_expired_subscription_ends_its_stream(backend):
    made = settings(backend)
    made["client"]["expired_sub_close_delay"] = "1s"
    with Server(made) as server:
        backend.first = field(1, field(1, b"\x08" + varint(int(time.time()) + 2)))
        peer = Peer(server)
        assert peer.command("subscribe", channel="feed:x")["subscribe"]["expires"]
        assert push(peer)["unsubscribe"]["code"] == 2501
        assert backend.opened().cancelled.wait(20)


def test_a_connection_that_ends_while_a_stream_is_opened_cancels_it(server, backend):
    backend.first = None
    peer = Peer(server)
    peer.raw.send_json({"id": 9, "subscribe": {"channel": "feed:x"}})
    stream = backend.opened()
    peer.raw.sock.close()
    stream.outgoing.put(OPENED)
    assert stream.cancelled.wait(20)
    until(lambda: open_streams(server) == 0, "its place is free")


def test_a_slow_client_holds_back_its_own_stream_only(server, backend):
    slow, quick = Peer(server), Peer(server)
    assert "subscribe" in slow.command("subscribe", channel="feed:slow")
    assert "subscribe" in quick.command("subscribe", channel="feed:quick")
    held, free = backend.opened(1), backend.opened(2)
    size, count = 16 << 10, 2000
    large = lambda n: publication(b'{"n":%d,"x":"%s"}' % (n, b"x" * size))
    for n in range(count):
        held.outgoing.put(large(n))
    time.sleep(2)
    before = held.sent
    assert before * size < 24 << 20, f"{before} of {count} were taken: windows, buffers of sockets, half of the queue"
    for n in range(50):
        free.outgoing.put(publication(b'{"n":%d}' % n))
    assert [push(quick)["pub"]["data"]["n"] for _ in range(50)] == list(range(50))
    assert held.sent - before < 200 and not held.cancelled.is_set()
    # It reads again: nothing is missing, and everything is in order.
    assert [push(slow)["pub"]["data"]["n"] for _ in range(count)] == list(range(count))


def test_the_number_of_open_streams_is_bounded(backend):
    with Server(settings(backend, max_streams=2)) as server:
        peers = [Peer(server) for _ in range(3)]
        replies = [peer.command("subscribe", channel="feed:x") for peer in peers]
        assert "subscribe" in replies[0] and "subscribe" in replies[1]
        assert replies[2]["error"] == INTERNAL and len(backend.streams) == 2
        assert metric(server, "spinward_proxy_failures_total") == 1
        peers[0].command("unsubscribe", channel="feed:x")
        until(lambda: open_streams(server) == 1, "a place is free")
        assert "subscribe" in peers[2].command("subscribe", channel="feed:x")


MANY = 400


def test_many_streams_on_one_connection(server, backend):
    backend.server.stop(0)
    backend = Backend.__new__(Backend)
    backend.streams, backend.first = [], OPENED
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve():
        made = grpc.aio.server()

        async def opened(request, context):
            backend.streams.append(context)
            yield OPENED
            await asyncio.sleep(0.5)
            yield publication(b"1")
            await asyncio.sleep(60)

        made.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
            SERVICE, {"SubscribeUnidirectional": grpc.unary_stream_rpc_method_handler(opened)})])
        backend.port = made.add_insecure_port("127.0.0.1:0")
        await made.start()
        ready.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True).start()
    assert ready.wait(20)
    with Server(settings(backend, timeout="5s")) as server:
        peers = [Peer(server) for _ in range(MANY // 100)]
        for peer in peers:
            for n in range(100):
                assert "subscribe" in peer.command("subscribe", channel=f"feed:{n}")
        assert open_streams(server) == MANY
        for peer in peers:
            assert sorted(push(peer)["channel"] for _ in range(100)) == sorted(f"feed:{n}" for n in range(100))
        for peer in peers:
            peer.raw.sock.close()
        until(lambda: open_streams(server) == 0, "all are cancelled")


ILL = {
    "garbage": b"\xff\xff\xff",
    "a publication": publication(b"1"),
    "nothing": b"",
    "too large": field(1, field(1, field(4, b"x" * (2 << 20)))),
    "a code that no close frame holds": field(1, field(3, b"\x08" + varint(70000))),
}


@pytest.mark.parametrize("ill", ILL)
def test_a_first_message_that_is_no_answer(server, backend, ill):
    backend.first = ILL[ill]
    peer = Peer(server)
    assert peer.command("subscribe", channel="feed:x")["error"] == INTERNAL
    assert backend.opened().cancelled.wait(20)
    assert "subscribe" in peer.command("subscribe", channel="room:1")


@pytest.mark.parametrize("ill", ["garbage", "too large"])
def test_a_later_message_that_is_malformed_breaks_the_stream(server, backend, ill):
    peer = Peer(server)
    assert "subscribe" in peer.command("subscribe", channel="feed:x")
    stream = backend.opened()
    stream.outgoing.put(publication(b"1"))
    assert push(peer)["pub"]["data"] == 1
    stream.outgoing.put(ILL[ill])
    assert push(peer)["unsubscribe"]["code"] == 2500
    assert stream.cancelled.wait(20)


def test_a_back_end_that_goes_away_and_comes_back(server, backend):
    peer = Peer(server)
    assert "subscribe" in peer.command("subscribe", channel="feed:x")
    backend.opened()
    backend.server.stop(0)
    assert push(peer)["unsubscribe"]["code"] == 2500
    assert peer.command("subscribe", channel="feed:x")["error"] == INTERNAL
    again = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    again.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        SERVICE, {"SubscribeUnidirectional": grpc.unary_stream_rpc_method_handler(lambda request, context: backend.serve([request], context))})])
    assert again.add_insecure_port(f"127.0.0.1:{backend.port}") == backend.port
    again.start()
    until(lambda: "subscribe" in peer.command("subscribe", channel="feed:x"), "the back end is asked again")
    again.stop(0)


def test_an_http_endpoint_is_refused(backend):
    made = settings(backend)
    made["channel"]["proxy"]["subscribe_stream"]["endpoint"] = "http://127.0.0.1:1"
    with pytest.raises(RuntimeError, match="channel.proxy.subscribe_stream.endpoint"):
        Server(made)
