"""permessage-deflate with the client of `websockets`, which asks for a window of 4 KiB, and with raw frames."""
import asyncio
import json
import zlib

import pytest
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from server import Server, config
from wire import jwt

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
TEXT = " ".join(f"line {n * 7919}" for n in range(500))


@pytest.fixture(scope="module")
def compressing():
    settings = config()
    settings["websocket"] = {"compression": True, "compression_level": 6}
    with Server(settings) as running:
        yield running


async def login(socket):
    await socket.send(json.dumps({"id": 1, "connect": {"token": jwt({"sub": "u1"})}}))
    assert "connect" in json.loads(await socket.recv())


@pytest.mark.parametrize(("offer", "agreed"), [
    ({}, AGREED),
    ({"server_max_window_bits": 12, "client_max_window_bits": 12}, f"{AGREED}; server_max_window_bits=12"),
    ({"server_max_window_bits": 15}, f"{AGREED}; server_max_window_bits=15"),
    ({"server_max_window_bits": 9, "client_max_window_bits": 9, "server_no_context_takeover": True, "client_no_context_takeover": True},
     f"{AGREED}; server_max_window_bits=9"),
])
def test_messages_of_every_size_come_through(compressing, offer, agreed):
    async def run():
        factory = ClientPerMessageDeflateFactory(**offer)
        async with connect(compressing.ws, extensions=[factory], compression=None, proxy=None) as socket:
            assert socket.response.headers["Sec-WebSocket-Extensions"] == agreed
            await login(socket)
            await socket.send(json.dumps({"id": 2, "subscribe": {"channel": "room:a"}}))
            while json.loads(await socket.recv()).get("id") != 2:
                pass
            for number, size in enumerate([0, 1, 10, 200, 5_000, 7_000]):
                data = TEXT[:size]
                await socket.send(json.dumps({"id": 3 + number, "publish": {"channel": "room:a", "data": data}}))
                seen = []
                while not any(message.get("id") == 3 + number for message in seen):
                    seen += [json.loads(line) for line in (await asyncio.wait_for(socket.recv(), 10)).split("\n")]
                pushed = [message["push"]["pub"]["data"] for message in seen if "pub" in message.get("push", {})]
                assert pushed == [data]

    asyncio.run(run())


def masked(first, payload):
    assert len(payload) < 126
    return bytes([first, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def test_every_message_is_compressed_for_itself(compressing):
    """No context of an earlier message is used, so each frame inflates alone; and what needs one is refused."""

    async def run():
        reader, writer = await asyncio.open_connection("127.0.0.1", compressing.port)
        writer.write((
            "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        ).encode())
        assert AGREED.encode() in await reader.readuntil(b"\r\n\r\n")
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)

        def packed(message):
            return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]

        for number in range(1, 3):
            message = json.dumps({"id": number, **({"connect": {"token": jwt({"sub": "u1"})}} if number == 1 else {"rpc": {"method": "x"}})})
            frame = zlib.compressobj(9, zlib.DEFLATED, -15)
            payload = (frame.compress(message.encode()) + frame.flush(zlib.Z_SYNC_FLUSH))[:-4]
            size = bytes([0x80 | len(payload)]) if len(payload) < 126 else bytes([0xFE]) + len(payload).to_bytes(2, "big")
            writer.write(bytes([0xC1]) + size + bytes(4) + payload)
            first, length = await reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            answer = zlib.decompress(await reader.readexactly(length) + b"\x00\x00\xff\xff\x01\x00\x00\xff\xff", -15)
            assert first == 0xC1 and json.loads(answer)["id"] == number
        command = b'{"id":7,"presence_stats":{"channel":"room:b"}}'
        packed(command)
        # The same again is little more than a reference to the message before.
        writer.write(masked(0xC1, packed(command)))
        head = await reader.readexactly(4)
        assert (head[0], int.from_bytes(head[2:], "big")) == (0x88, 1007)
        writer.close()

    asyncio.run(run())
