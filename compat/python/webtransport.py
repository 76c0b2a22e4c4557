"""A WebTransport client with `aioquic`: one session, and its stream of both directions."""
import asyncio
import contextlib
import datetime
import ssl

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamDataReceived
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TIMEOUT = 10


def certificate(issuer=None, authority=False):
    """A certificate for this machine and its key, in PEM; issued by itself, or by such a pair."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority" if authority else "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    by, signer = name, key
    if issuer:
        by = x509.load_pem_x509_certificate(issuer[0].encode()).subject
        signer = serialization.load_pem_private_key(issuer[1].encode(), None)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(authority, None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    pkcs8 = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), pkcs8.decode()


class Refused(Exception):
    """The request for a session was answered with this status."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class Session(QuicConnectionProtocol):
    """A connection with one session."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic, enable_webtransport=True)
        self.status = asyncio.get_running_loop().create_future()
        self.session = self.stream = None
        self._bytes = bytearray()
        self._more = asyncio.Event()
        self.stream_ended = False
        # The code and reason that the connection was closed with.
        self.ended = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            if not self.ended.done():
                self.ended.set_result((event.error_code, event.reason_phrase))
            self._more.set()
        # Of a stream that the client has opened, `H3Connection` does not know that it is one of a session.
        if isinstance(event, StreamDataReceived) and event.stream_id == self.stream:
            self._bytes += event.data
            self.stream_ended |= event.end_stream
            self._more.set()
            return
        for got in self.http.handle_event(event):
            if isinstance(got, HeadersReceived) and not self.status.done():
                self.status.set_result(int(dict(got.headers)[b":status"]))

    async def open(self, authority, path, headers):
        self.session = self._quic.get_next_available_stream_id()
        self.http.send_headers(
            self.session,
            [
                (b":method", b"CONNECT"),
                (b":scheme", b"https"),
                (b":authority", authority.encode()),
                (b":path", path.encode()),
                (b":protocol", b"webtransport"),
                *headers,
            ],
        )
        self.transmit()
        status = await asyncio.wait_for(self.status, TIMEOUT)
        if status != 200:
            raise Refused(status)

    def begin(self):
        self.stream = self.http.create_webtransport_stream(self.session)

    def send(self, data):
        if self.stream is None:
            self.begin()
        self._quic.send_stream_data(self.stream, data)
        self.transmit()

    def close_session(self, code, reason):
        """Says the end of the session on its stream: a capsule, as a browser does."""
        body = code.to_bytes(4, "big") + reason
        capsule = b"\x68\x43" + bytes([len(body)]) + body
        self._quic.send_stream_data(self.session, b"\x00" + bytes([len(capsule)]) + capsule, end_stream=True)
        self.transmit()

    async def _until(self, ready):
        while (found := ready()) is None:
            if self.stream_ended or self.ended.done():
                raise EOFError("the stream has ended")
            self._more.clear()
            await asyncio.wait_for(self._more.wait(), TIMEOUT)
        return found

    async def line(self):
        """The next JSON message, without pings."""

        def ready():
            at = self._bytes.find(b"\n")
            return None if at < 0 else at

        while True:
            at = await self._until(ready)
            line = bytes(self._bytes[:at])
            del self._bytes[: at + 1]
            if line == b"{}":
                self.send(b"{}\n")
            else:
                return line.decode()

    async def message(self):
        """The next Protobuf message, of less than 16 KiB."""

        def ready():
            got = self._bytes
            if not got or (got[0] >= 0x80 and len(got) < 2):
                return None
            head = 1 if got[0] < 0x80 else 2
            length = got[0] if head == 1 else (got[0] & 0x7F) | got[1] << 7
            return (head, head + length) if len(got) >= head + length else None

        head, end = await self._until(ready)
        message = bytes(self._bytes[head:end])
        del self._bytes[:end]
        return message


@contextlib.asynccontextmanager
async def session(port, path="/connection/webtransport", headers=(), open=True):
    settings = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, max_datagram_frame_size=65536)
    settings.verify_mode = ssl.CERT_NONE
    settings.server_name = "localhost"
    async with connect("127.0.0.1", port, configuration=settings, create_protocol=Session) as client:
        if open:
            await client.open(f"127.0.0.1:{port}", path, headers)
        yield client
