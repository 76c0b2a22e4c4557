"""WebSocket over HTTP/2 without TLS (RFC 8441), §1.1. In one direction it ends the process of Centrifugo 6.9."""
import asyncio
import json
import struct
import zlib

import h2.config
import h2.connection
import h2.events
import h2.settings

from transports import CLOSE, PING, TEXT, deflate, frame, transport

KEPT = ("sec-websocket-extensions", "sec-websocket-protocol", "sec-websocket-accept", "upgrade", "connection")


class Connection:
    """One connection of HTTP/2; what each stream receives is kept."""

    def __init__(self, t):
        self.t, self.streams, self.settings = t, {}, None

    async def open(self):
        host, port = self.t.target.rsplit(":", 1)
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False))
        self.h2.initiate_connection()
        self.flush()
        self.t.tasks.append(asyncio.create_task(self.read()))
        for _ in range(40):
            await asyncio.sleep(0.05)
            if self.settings is not None:
                return self

    def flush(self):
        self.writer.write(self.h2.data_to_send())

    async def read(self):
        try:
            while data := await self.reader.read(65536):
                for event in self.h2.receive_data(data):
                    stream = self.streams.get(getattr(event, "stream_id", None))
                    if isinstance(event, h2.events.RemoteSettingsChanged):
                        self.settings = {k: v.new_value for k, v in event.changed_settings.items()}
                    elif stream is None:
                        continue
                    elif isinstance(event, h2.events.ResponseReceived):
                        stream["headers"] = dict(event.headers)
                    elif isinstance(event, h2.events.DataReceived):
                        stream["data"] += event.data
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, h2.events.StreamEnded):
                        stream["end"] = "ended"
                    elif isinstance(event, h2.events.StreamReset):
                        stream["end"] = "reset"
                self.flush()
        except (ConnectionError, asyncio.CancelledError):
            pass

    def request(self, path, method="CONNECT", protocol="websocket", version="13", more=()):
        number = self.h2.get_next_available_stream_id()
        headers = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "x")]
        headers += [(":protocol", protocol)] if protocol else []
        headers += ([("sec-websocket-version", version)] if version else []) + list(more)
        self.streams[number] = {"headers": None, "data": b"", "end": None}
        self.h2.send_headers(number, headers, end_stream=method != "CONNECT")
        self.flush()
        return number

    async def answer(self, number, label):
        for _ in range(40):
            if self.streams[number]["headers"] or self.streams[number]["end"]:
                break
            await asyncio.sleep(0.05)
        headers = self.streams[number]["headers"] or {}
        self.t.lane(label).append({"status": headers.get(":status"), **{k: headers[k] for k in KEPT if k in headers}})

    def send(self, number, *frames):
        for f in frames:
            self.h2.send_data(number, f)
        self.flush()

    async def told(self, number, label, secs=0.5):
        """What came: messages, pongs, close."""
        await asyncio.sleep(secs)
        data, self.streams[number]["data"] = self.streams[number]["data"], b""
        while data:
            size, at = data[1] & 127, 2
            if size > 125:
                at = 4 if size == 126 else 10
                size = int.from_bytes(data[2:at], "big")
            payload, first, data = data[at:at + size], data[0], data[at + size:]
            if first & 15 == CLOSE:
                self.t.lane(label).append({"close": int.from_bytes(payload[:2], "big") if payload else None})
            elif first & 15 >= 8:
                self.t.lane(label).append({"control": [first & 15, payload.decode("latin1")]})
            else:
                if first & 0x40:
                    payload = zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
                for line in payload.decode().split("\n"):
                    message = json.loads(line)
                    if message:
                        body = message.get("connect")
                        if body and body.get("client"):
                            self.t.ids[body["client"]] = f"<{label}>"
                        self.t.lane(label).append({"rx": message, "compressed": bool(first & 0x40)})


@transport("h2-settings", "extended CONNECT is announced", "§1.1")
async def _(t):
    c = await Connection(t).open()
    t.lane("A").append({"enable connect": (c.settings or {}).get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL)})


for name, intent, options in [
    ("plain", "a handshake", {}), ("protobuf-subprotocol", "subprotocols", {"more": [("sec-websocket-protocol", "foo, centrifuge-protobuf")]}), ("deflate", "an offer of compression", {"more": [("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")]}),
    ("version-8", "another version", {"version": "8"}), ("version-none", "no version", {"version": None}), ("origin-ok", "an allowed origin", {"more": [("origin", "https://ok.example")]}), ("origin-other", "another origin", {"more": [("origin", "https://evil.example")]}),
    ("get", "a GET", {"method": "GET", "protocol": None}),
]:
    @transport(f"h2-ws-{name}", intent, "§1.1")
    async def _(t, options=options):
        c = await Connection(t).open()
        await c.answer(c.request(t.path["ws"], **options), "A")


@transport("h2-ws-live", "login, subscription, publication, ping, close", "§1.1")
async def _(t):
    ch = t.ch("pub")
    c = await Connection(t).open()
    n = c.request(t.path["ws"])
    await c.answer(n, "A")
    c.send(n, frame(TEXT, json.dumps({"id": 1, "connect": {"token": t.tok()}})))
    await c.told(n, "A")
    c.send(n, frame(TEXT, json.dumps({"id": 2, "subscribe": {"channel": ch}})), frame(TEXT, json.dumps({"id": 3, "publish": {"channel": ch, "data": {"n": 1}}})))
    await c.told(n, "A")
    c.send(n, frame(PING, b"p"))
    await c.told(n, "A")
    c.send(n, frame(CLOSE, struct.pack(">H", 1000)))
    await c.told(n, "A")


@transport("h2-ws-deflate-live", "compressed both ways", "§1.1")
async def _(t):
    c = await Connection(t).open()
    n = c.request(t.path["ws"], more=[("sec-websocket-extensions", "permessage-deflate")])
    await c.answer(n, "A")
    c.send(n, frame(TEXT, deflate(json.dumps({"id": 1, "connect": {"token": t.tok()}}).encode()), rsv=4))
    await c.told(n, "A")


@transport("h2-ws-two", "two WebSockets in one connection", "§1.1")
async def _(t):
    ch = t.ch("pub")
    c = await Connection(t).open()
    for label in "AB":
        n = c.request(t.path["ws"])
        await c.answer(n, label)
        c.send(n, frame(TEXT, json.dumps({"id": 1, "connect": {"token": t.tok()}}) + "\n" + json.dumps({"id": 2, "subscribe": {"channel": ch}})))
        await c.told(n, label)
    c.send(1, frame(TEXT, json.dumps({"id": 3, "publish": {"channel": ch, "data": {"n": 1}}})))
    await c.told(1, "A")
    await c.told(3, "B")


@transport("h2-ws-bad", "no command", "§1.1")
async def _(t):
    c = await Connection(t).open()
    n = c.request(t.path["ws"])
    await c.answer(n, "A")
    c.send(n, frame(TEXT, "hello"))
    await c.told(n, "A")


@transport("h2-ws-unmasked", "an unmasked frame", "§1.1")
async def _(t):
    c = await Connection(t).open()
    n = c.request(t.path["ws"])
    await c.answer(n, "A")
    c.send(n, frame(TEXT, '{"id":1,"connect":{}}', mask=False))
    await c.told(n, "A")
