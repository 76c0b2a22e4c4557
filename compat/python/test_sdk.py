"""What centrifuge-python does against the server, in both encodings."""
import asyncio
import itertools
import json
import time

import pytest
from centrifuge import CentrifugeError, Client, ClientEventHandler, DeltaType, Filter, SubscriptionEventHandler, UnauthorizedError

from server import Server, config
from wire import jwt

PROTOCOLS = pytest.mark.parametrize("protobuf", [False, True], ids=["json", "protobuf"])
serial = itertools.count(1)


def unique(prefix):
    return f"{prefix}{next(serial)}-{time.monotonic_ns()}"


class Recorder:
    """Takes every callback of a handler class and writes it down as (name, context)."""

    def __init_subclass__(cls, handler):
        for name in dir(handler):
            if name.startswith("on_"):
                setattr(cls, name, cls._callback(name[3:]))

    @staticmethod
    def _callback(name):
        async def record(self, ctx):
            self.events.append((name, ctx))

        return record

    def __init__(self):
        self.events = []

    def seen(self, name):
        return [ctx for found, ctx in self.events if found == name]


class ClientRecorder(Recorder, ClientEventHandler, handler=ClientEventHandler):
    pass


class SubRecorder(Recorder, SubscriptionEventHandler, handler=SubscriptionEventHandler):
    def numbers(self):
        return [decode(ctx.pub.data)["n"] for ctx in self.seen("publication")]


def decode(data):
    return json.loads(data) if isinstance(data, bytes) else data


def encode(data, protobuf):
    return json.dumps(data).encode() if protobuf else data


async def until(check, what, timeout=20.0):
    deadline = time.monotonic() + timeout
    while not check():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


class Relay:
    """A TCP relay whose connections can be cut, and that can refuse new ones."""

    def __init__(self, port):
        self.port, self.refusing, self.writers = port, False, set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.ws = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/connection/websocket"
        return self

    async def __aexit__(self, *_):
        self.cut()
        self.server.close()

    def cut(self):
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()

    async def _serve(self, reader, writer):
        if self.refusing:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers |= {writer, far_writer}

        async def pump(source, sink):
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            finally:
                sink.transport.abort()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


class Session:
    """A connected client of the SDK with its recorder; disconnects at the end."""

    def __init__(self, url, protobuf, claims=None, **options):
        self.recorder = ClientRecorder()
        options.setdefault("token", jwt({"sub": unique("user-"), **(claims or {})}))
        self.client = Client(url, self.recorder, use_protobuf=protobuf, proxy=None, max_reconnect_delay=0.3, **options)

    async def __aenter__(self):
        await self.client.connect()
        await self.client.ready(5)
        return self

    async def __aexit__(self, *_):
        await self.client.disconnect()

    async def subscribe(self, channel, **options):
        recorder = SubRecorder()
        sub = self.client.new_subscription(channel, recorder, **options)
        await sub.subscribe()
        await sub.ready(5)
        return sub, recorder


async def publish(server, channel, *numbers, **more):
    for n in numbers:
        await asyncio.to_thread(server.api, "publish", channel=channel, data={"n": n}, **more)


@PROTOCOLS
def test_subscribe_publish_presence_unsubscribe(server, protobuf):
    async def scenario():
        channel = unique("room:")
        async with Session(server.ws, protobuf, {"sub": "ada", "info": {"name": "Ada"}}) as ada:
            sub, seen = await ada.subscribe(channel)
            async with Session(server.ws, protobuf, {"sub": "ben", "info": {"name": "Ben"}}) as ben:
                other, _ = await ben.subscribe(channel)
                await until(lambda: any(ctx.info.user == "ben" for ctx in seen.seen("join")), "the join")
                people = (await sub.presence()).clients.values()
                assert sorted((one.user, decode(one.conn_info)["name"]) for one in people) == [("ada", "Ada"), ("ben", "Ben")]
                stats = await sub.presence_stats()
                assert (stats.num_clients, stats.num_users) == (2, 2)
                await other.publish(encode({"n": 1}, protobuf))
                await publish(server, channel, 2)
                await until(lambda: seen.numbers() == [1, 2], "both publications")
                by_client, by_api = (ctx.pub for ctx in seen.seen("publication"))
                assert by_client.info.user == "ben" and decode(by_client.info.conn_info) == {"name": "Ben"}
                assert by_api.info is None
            await until(lambda: any(ctx.info.user == "ben" for ctx in seen.seen("leave")), "the leave")
            await sub.unsubscribe()
            # The SDK does not wait for the server's answer here.
            await until(lambda: server.api("presence_stats", channel=channel)["num_clients"] == 0, "the channel to be empty")

    asyncio.run(scenario())


@PROTOCOLS
def test_history(server, protobuf):
    async def scenario():
        channel = unique("recov:")
        await publish(server, channel, *range(1, 8))
        async with Session(server.ws, protobuf) as session:
            sub, _ = await session.subscribe(channel)
            page = await sub.history(limit=3)
            assert [pub.offset for pub in page.publications] == [1, 2, 3]
            assert [decode(pub.data)["n"] for pub in page.publications] == [1, 2, 3]
            assert page.offset == 7 and page.epoch
            page = await sub.history(limit=2, reverse=True)
            assert [pub.offset for pub in page.publications] == [7, 6]
            page = await sub.history(limit=0)
            assert page.publications == [] and page.offset == 7

    asyncio.run(scenario())


@PROTOCOLS
def test_recovery_after_a_killed_socket(server, protobuf):
    async def scenario():
        channel = unique("recov:")
        async with Relay(server.port) as road, Session(road.ws, protobuf) as session:
            _, seen = await session.subscribe(channel)
            await publish(server, channel, 1, 2, 3)
            await until(lambda: seen.numbers() == [1, 2, 3], "the first publications")
            road.refusing = True
            road.cut()
            await until(lambda: len(session.recorder.seen("connecting")) == 2, "the loss to be noticed")
            await publish(server, channel, 4, 5, 6)
            road.refusing = False
            await until(lambda: len(seen.numbers()) == 6, "the recovered publications")
            await publish(server, channel, 7)
            await until(lambda: len(seen.numbers()) == 7, "the live one")
            assert seen.numbers() == [1, 2, 3, 4, 5, 6, 7]
            again = seen.seen("subscribed")[1]
            assert again.was_recovering and again.recovered

    asyncio.run(scenario())


@PROTOCOLS
def test_beyond_history_the_client_is_told(server, protobuf):
    async def scenario():
        channel = unique("short:")
        async with Relay(server.port) as road, Session(road.ws, protobuf) as session:
            _, seen = await session.subscribe(channel)
            await publish(server, channel, 1)
            await until(lambda: seen.numbers() == [1], "the first publication")
            road.refusing = True
            road.cut()
            await until(lambda: len(session.recorder.seen("connecting")) == 2, "the loss to be noticed")
            await publish(server, channel, *range(2, 10))
            road.refusing = False
            await until(lambda: len(seen.seen("subscribed")) == 2, "the second subscribe")
            again = seen.seen("subscribed")[1]
            assert again.was_recovering and not again.recovered
            await publish(server, channel, 10)
            await until(lambda: 10 in seen.numbers(), "the live publication")
            assert seen.numbers() == [1, 10], "all or nothing"

    asyncio.run(scenario())


@PROTOCOLS
def test_server_side_subscriptions(server, protobuf):
    async def scenario():
        channel, later, user = unique("recov:"), unique("room:"), unique("user-")
        async with Session(server.ws, protobuf, {"sub": user, "channels": [channel]}) as session:
            seen = session.recorder.seen
            await until(lambda: [ctx.channel for ctx in seen("subscribed")] == [channel], "the subscription")
            await publish(server, channel, 1)
            await until(lambda: len(seen("publication")) == 1, "a publication")
            assert decode(seen("publication")[0].pub.data) == {"n": 1}
            await asyncio.to_thread(server.api, "subscribe", user=user, channel=later)
            await until(lambda: later in [ctx.channel for ctx in seen("subscribed")], "the API's subscription")
            await asyncio.to_thread(server.api, "unsubscribe", user=user, channel=later)
            await until(lambda: [ctx.channel for ctx in seen("unsubscribed")] == [later], "its end")

    asyncio.run(scenario())


@PROTOCOLS
@pytest.mark.parametrize("asked, expected", [({}, (3503, "force disconnect")), ({"code": 4501, "reason": "bye"}, (4501, "bye"))], ids=["default", "own"])
def test_disconnect_codes(server, protobuf, asked, expected):
    async def scenario():
        user = unique("user-")
        async with Session(server.ws, protobuf, {"sub": user}) as session:
            body = {"user": user, **({"disconnect": asked} if asked else {})}
            await asyncio.to_thread(lambda: server.api("disconnect", **body))
            await until(lambda: session.recorder.seen("disconnected"), "the disconnect")
            ctx = session.recorder.seen("disconnected")[0]
            assert (ctx.code, ctx.reason) == expected

    asyncio.run(scenario())


@PROTOCOLS
def test_refusals(server, protobuf):
    async def scenario():
        session = Session(server.ws, protobuf, token=jwt({"sub": "42"}, key="wrong"))
        await session.client.connect()
        await until(lambda: session.recorder.seen("disconnected"), "the refusal")
        ctx = session.recorder.seen("disconnected")[0]
        assert (ctx.code, ctx.reason) == (3500, "invalid token")

        async with Session(server.ws, protobuf) as session:
            recorder = SubRecorder()
            sub = session.client.new_subscription("closed:x", recorder)
            await sub.subscribe()
            await until(lambda: recorder.seen("unsubscribed"), "the refusal")
            assert recorder.seen("unsubscribed")[0].code == 103
            with pytest.raises(CentrifugeError):
                await session.client.history(unique("room:"))
            sub, recorder = await session.subscribe(unique("room:"))
            user = next(iter((await sub.presence()).clients.values())).user
            await asyncio.to_thread(server.api, "unsubscribe", user=user, channel=sub.channel)
            await until(lambda: recorder.seen("unsubscribed"), "the server's unsubscribe")
            assert recorder.seen("unsubscribed")[0].code == 2000

    asyncio.run(scenario())


@PROTOCOLS
def test_refresh_prolongs_and_its_absence_ends(server, protobuf):
    async def scenario():
        asked = []

        async def fresh():
            asked.append(1)
            return jwt({"sub": "42", "exp": int(time.time()) + 60})

        async def none():
            raise UnauthorizedError()

        short = lambda: jwt({"sub": "42", "exp": int(time.time()) + 3})
        async with Session(server.ws, protobuf, token=short(), get_token=fresh) as kept, Session(
            server.ws, protobuf, token=short(), get_token=none
        ) as lost:
            await asyncio.sleep(6)
            assert asked and not kept.recorder.seen("disconnected") and len(kept.recorder.seen("connected")) == 1
            assert [ctx.code for ctx in lost.recorder.seen("disconnected")] == [1]

    asyncio.run(scenario())


@PROTOCOLS
def test_delta_and_tags_filter(server, protobuf):
    async def scenario():
        async with Session(server.ws, protobuf) as session:
            channel = unique("delta:")
            _, seen = await session.subscribe(channel, delta=DeltaType.FOSSIL)
            states = [{"n": n, "text": "the same words again and again, at some length " * 4} for n in range(1, 11)]
            for state in states:
                await asyncio.to_thread(server.api, "publish", channel=channel, data=state)
            await until(lambda: len(seen.numbers()) == 10, "all states")
            assert [decode(ctx.pub.data) for ctx in seen.seen("publication")] == states

            channel = unique("tags:")
            _, seen = await session.subscribe(channel, tags_filter=Filter.eq("city", "Oslo"))
            await publish(server, channel, 1, tags={"city": "Rome"})
            await publish(server, channel, 2, tags={"city": "Oslo"})
            await publish(server, channel, 3)
            await publish(server, channel, 4, tags={"city": "Oslo"})
            await until(lambda: 4 in seen.numbers(), "the last publication")
            assert seen.numbers() == [2, 4]

    asyncio.run(scenario())


def test_a_shutdown_makes_clients_reconnect():
    async def scenario():
        with Server(config()) as first:
            async with Session(first.ws, False) as session:
                await asyncio.to_thread(first.stop)
                await until(lambda: len(session.recorder.seen("connecting")) >= 2, "the shutdown")
                ctx = session.recorder.seen("connecting")[1]
                assert (ctx.code, ctx.reason) == (3001, "shutdown")
                with Server(config(), port=first.port):
                    await until(lambda: len(session.recorder.seen("connected")) == 2, "the new server", 15)

    asyncio.run(scenario())
