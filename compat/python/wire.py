"""Tokens and sockets by hand, so that both can be wrong in any way."""
import base64
import hashlib
import hmac
import json
import os
import socket
import struct

from server import SECRET

JSON, PROTOBUF = "json", "protobuf"


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt(claims, key=SECRET, alg="HS256", header=None):
    """A token of the given claims (a dict, or JSON text as it is)."""
    head = b64u(json.dumps(header or {"alg": alg, "typ": "JWT"}).encode())
    body = b64u((claims if isinstance(claims, str) else json.dumps(claims)).encode())
    hashed = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg, hashlib.sha256)
    sign = hmac.new(key.encode(), f"{head}.{body}".encode(), hashed).digest()
    return f"{head}.{body}.{b64u(sign)}"


def frame(payload, opcode=1, fin=True, masked=True, claimed=None):
    """One WebSocket frame as a client sends it; `claimed` puts another length into the header."""
    payload = payload.encode() if isinstance(payload, str) else payload
    length = len(payload) if claimed is None else claimed
    head = bytes([(0x80 if fin else 0) | opcode])
    flag = 0x80 if masked else 0
    if length < 126:
        head += bytes([flag | length])
    elif length < 65536:
        head += bytes([flag | 126]) + struct.pack("!H", length)
    else:
        head += bytes([flag | 127]) + struct.pack("!Q", length)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


class Raw:
    """A WebSocket connection on a bare socket."""

    def __init__(self, port, protocol=JSON, timeout=10.0, origin=None):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        offer = "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n" if protocol == PROTOBUF else ""
        offer += f"Origin: {origin}\r\n" if origin else ""
        key = base64.b64encode(os.urandom(16)).decode()
        self.sock.sendall(
            f"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}\r\n".encode()
        )
        self._pending = []
        self._buffer = b""
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        assert b" 101 " in head.split(b"\r\n")[0], head

    def _fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError("the server closed the socket without a close frame")
        self._buffer += data

    def _take(self, count):
        while len(self._buffer) < count:
            self._fill()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def send(self, data):
        """Raw bytes. A server that has had enough may stop reading: its close frame tells why."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_json(self, value):
        self.send(frame(json.dumps(value)))

    def receive(self):
        """The next frame: (opcode, payload). A close gives ("close", code, reason)."""
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._take(8))
        payload = self._take(length)
        if first & 0x0F == 8:
            code = struct.unpack("!H", payload[:2])[0] if payload else 1005
            return "close", code, payload[2:].decode()
        return first & 0x0F, payload

    def next(self):
        """The next JSON reply or push, pings answered and left out; or the close."""
        while not self._pending:
            got = self.receive()
            if got[0] == "close":
                return got
            for line in got[1].decode().splitlines():
                value = json.loads(line)
                if value:
                    self._pending.append(value)
                else:
                    self.send(frame("{}"))
        return self._pending.pop(0)

    def until_close(self):
        """Everything up to the close, which comes last."""
        got = [self.next()]
        while not isinstance(got[-1], tuple):
            got.append(self.next())
        return got

    def login(self, claims, **kw):
        self.send_json({"id": 1, "connect": {"token": jwt(claims, **kw)}})
        return self.next()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
