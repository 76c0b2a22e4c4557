"""Limits, each just below it, at it, and just above it. The limit of what waits for a slow reader is tested where
every byte counts, under simulation (crates/testkit/tests/queue.rs)."""
import contextlib
import itertools
import json
import socket
import time

import httpx
import pytest

from server import API_KEY, Server, config
from wire import JSON, PROTOBUF, Raw, frame, jwt

serial = itertools.count(1)


def running(client=None, **more):
    settings = config(client={"queue_max_size": 4 << 20, **(client or {})})
    for section, options in more.items():
        settings[section] = {**settings.get(section, {}), **options}
    return Server(settings)


def unique(prefix):
    return f"{prefix}{next(serial)}-{time.monotonic_ns()}"


def command(raw, **body):
    """The reply to a command; pushes in between are passed over."""
    number = next(serial)
    raw.send_json({"id": number, **body})
    while isinstance(got := raw.next(), dict):
        if got.get("id") == number:
            return got
    return got


@contextlib.contextmanager
def login(server, user="7", **claims):
    with Raw(server.port) as raw:
        raw.first = raw.login({"sub": user, **claims})
        yield raw


def test_subscriptions_of_a_connection():
    with running({"channel_limit": 3}) as server, login(server) as raw:
        codes = [command(raw, subscribe={"channel": f"room:{n}"}).get("error", {}).get("code") for n in range(5)]
        assert codes == [None, None, None, 106, 106]
        # Leaving makes room for one, and no more than one.
        assert "unsubscribe" in command(raw, unsubscribe={"channel": "room:0"})
        codes = [command(raw, subscribe={"channel": f"room:{n}"}).get("error", {}).get("code") for n in (3, 4)]
        assert codes == [None, 106]
        for count, expected in ((2, "connect"), (3, "connect"), (4, 3505)):
            with login(server, user=str(count), channels=[f"room:{n}" for n in range(count)]) as other:
                assert expected in (other.first if isinstance(other.first, tuple) else list(other.first)), count


@pytest.mark.parametrize("protocol", [JSON, PROTOBUF])
@pytest.mark.parametrize("in_pieces", [False, True], ids=["one frame", "fragments"])
def test_bytes_of_a_message(protocol, in_pieces):
    limit = 300
    with running(websocket={"message_size_limit": limit}) as server:
        for size, fits in ((limit - 1, True), (limit, True), (limit + 1, False)):
            with Raw(server.port, protocol) as raw:
                raw.send(message(connect(protocol, size), protocol, in_pieces))
                got = raw.receive()
                assert (got[0] != "close") == fits, (size, got)
                assert fits or got[1] == 1009, got


def connect(protocol, size):
    """A connect command of just so many bytes."""
    token = jwt({"sub": "7"})
    if protocol == JSON:
        text = json.dumps({"id": 1, "connect": {"token": token, "name": ""}})
        return text.replace('"name": ""', f'"name": "{"n" * (size - len(text))}"').encode()
    # ConnectRequest: token 1, name 4; Command: id 1, connect 4; each command with its length before it.
    for room in range(size):
        request = field(1, token.encode()) + field(4, b"n" * room)
        command = b"\x08\x01" + field(4, request)
        if len(varint(len(command)) + command) == size:
            return varint(len(command)) + command
    raise AssertionError(f"no command has {size} bytes")


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, data):
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def message(payload, protocol, in_pieces):
    opcode = 1 if protocol == JSON else 2
    if not in_pieces:
        return frame(payload, opcode)
    half = len(payload) // 2
    return frame(payload[:half], opcode, fin=False) + frame(payload[half:], 0)


def test_bytes_of_a_channel_name():
    with running(channel={"max_length": 20}) as server, login(server) as raw:
        for size, code in ((19, None), (20, None), (21, 107)):
            name = "room:" + "x" * (size - 5)
            assert command(raw, subscribe={"channel": name}).get("error", {}).get("code") == code, size
        # Bytes and not characters.
        assert "error" not in command(raw, subscribe={"channel": "room:" + "y" * 15})
        assert command(raw, subscribe={"channel": "room:" + "é" * 8})["error"]["code"] == 107


def test_publications_of_a_history_call():
    with running({"history_max_publication_limit": 5}) as server, login(server) as raw:
        channel = unique("recov:")
        command(raw, subscribe={"channel": channel})
        for n in range(7):
            server.api("publish", channel=channel, data=n)
        for limit, count in ((0, 0), (4, 4), (5, 5), (6, 5), (-1, 5)):
            for reverse in (False, True):
                page = command(raw, history={"channel": channel, "limit": limit, "reverse": reverse})["history"]
                offsets = [one["offset"] for one in page.get("publications", [])]
                assert offsets == ([7, 6, 5, 4, 3] if reverse else [1, 2, 3, 4, 5])[:count], limit
        # What the application's backend asks for has no such limit.
        assert len(server.api("history", channel=channel, limit=-1)["publications"]) == 7


def test_publications_of_a_recovery():
    with running({"recovery_max_publication_limit": 5}) as server, login(server) as raw:
        channel = unique("recov:")
        epoch = command(raw, subscribe={"channel": channel})["subscribe"]["epoch"]
        command(raw, unsubscribe={"channel": channel})
        for n in range(7):
            server.api("publish", channel=channel, data=n)
        for missed, recovered in ((0, True), (4, True), (5, True), (6, False), (7, False)):
            ask = {"channel": channel, "recover": True, "epoch": epoch, "offset": 7 - missed}
            got = command(raw, subscribe=ask)["subscribe"]
            assert got.get("recovered", False) == recovered, missed
            offsets = [one["offset"] for one in got.get("publications", [])]
            assert offsets == (list(range(8 - missed, 8)) if recovered else []), missed
            command(raw, unsubscribe={"channel": channel})


def handshake(server):
    """The status of an upgrade request, and its connection."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    connection.sendall(
        b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head and (data := connection.recv(4096)):
        head += data
    return int(head.split(b" ")[1]), connection


def test_connections_of_the_node():
    with running({"connection_limit": 3}) as server, contextlib.ExitStack() as stack:
        def come():
            status, connection = handshake(server)
            stack.callback(connection.close)
            return status, connection

        opened = [come() for _ in range(5)]
        assert [status for status, _ in opened] == [101, 101, 101, 503, 503]
        # One that leaves makes room for one.
        opened[0][1].close()
        deadline = time.monotonic() + 10
        while (again := come())[0] != 101:
            assert time.monotonic() < deadline, "nobody is let in after one has left"
            time.sleep(0.05)
        assert again[0] == 101 and come()[0] == 503
        # Those who were refused hold no place.
        for _, connection in opened[1:3]:
            connection.close()
        deadline = time.monotonic() + 10
        admitted = 0
        while admitted < 2:
            admitted += come()[0] == 101
            assert time.monotonic() < deadline, admitted
            time.sleep(0.05)
        assert come()[0] == 503


def test_connections_of_a_user():
    with running({"user_connection_limit": 2}) as server, contextlib.ExitStack() as stack:
        first = stack.enter_context(login(server, user="7"))
        assert "connect" in first.first
        assert "connect" in stack.enter_context(login(server, user="7")).first
        assert stack.enter_context(login(server, user="7")).first == ("close", 3504, "connection limit")
        assert "connect" in stack.enter_context(login(server, user="8")).first
        first.close()
        deadline = time.monotonic() + 10
        while "connect" not in stack.enter_context(login(server, user="7")).first:
            assert time.monotonic() < deadline, "nobody is let in after one has left"
            time.sleep(0.05)
        assert stack.enter_context(login(server, user="7")).first == ("close", 3504, "connection limit")


def test_new_connections_a_second():
    """A rate of N admits N at once, and N in each second after that: neither one nor all."""
    rate = 20
    with running({"connection_rate_limit": rate}) as server:
        def come(until):
            admitted = 0
            while time.monotonic() < until:
                status, connection = handshake(server)
                connection.close()
                admitted += status == 101
                assert status in (101, 503)
            return admitted

        time.sleep(1.2)
        begin = time.monotonic()
        admitted = 0
        for _ in range(rate):
            status, connection = handshake(server)
            connection.close()
            admitted += status == 101
        assert admitted == rate
        seconds = 3
        admitted += come(begin + seconds)
        spent = time.monotonic() - begin
        # At most what the time allows; and about that, however slow the machine is at asking.
        assert admitted <= rate * (1 + spent) + 1
        assert admitted >= rate * (1 + seconds) * 0.7


BODY = 32 << 20


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_bytes_of_a_call(chunked):
    with running() as server:
        for size, status in ((BODY - 1, 200), (BODY, 200), (BODY + 1, 413)):
            call = b'{"channel":"room:a","data":1'
            body = call + b" " * (size - len(call) - 1) + b"}"
            content = (body[at:at + (1 << 20)] for at in range(0, size, 1 << 20)) if chunked else body
            try:
                answer = httpx.post(f"{server.http}/api/publish", content=content, headers={"X-API-Key": API_KEY}, timeout=60)
                assert answer.status_code == status, size
            except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
                # The server may hang up on a body that it does not take.
                assert status == 413


BATCH = 10_000


@pytest.mark.parametrize("form", ["batch", "broadcast", "lines"])
def test_calls_of_a_request(form):
    with running() as server:
        for count, status in ((BATCH - 1, 200), (BATCH, 200), (BATCH + 1, 400)):
            path, content = {
                "batch": ("/api/batch", json.dumps({"commands": [{"rpc": {"method": "x"}}] * count})),
                "broadcast": ("/api/broadcast", json.dumps({"channels": [f"room:{n}" for n in range(count)], "data": 1})),
                "lines": ("/api", "\n".join(['{"method":"rpc","params":{"method":"x"}}'] * count)),
            }[form]
            answer = httpx.post(server.http + path, content=content, headers={"X-API-Key": API_KEY}, timeout=60)
            assert answer.status_code == status, count
            if status == 200:
                answered = answer.text.splitlines() if form == "lines" else next(iter(answer.json().values()))
                answered = answered["responses"] if form == "broadcast" else answered
                assert len(answered) == count
        if form == "broadcast":
            # Each of a batch has the same limit.
            batch = {"commands": [{"broadcast": {"channels": ["room:a"] * (BATCH + 1), "data": 1}}]}
            answer = httpx.post(f"{server.http}/api/batch", json=batch, headers={"X-API-Key": API_KEY}, timeout=60)
            assert answer.status_code == 400
