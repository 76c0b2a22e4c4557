"""The configurations of the manual's chapter on proxies, in front of a server: each transport, and the client's address."""
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from datetime import datetime, timedelta, timezone

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from secure import connect_secure
from server import IS_SPINWARD, ROOT, Server, config, free_port
from wire import jwt

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="the chapter is Spinward's")

CHAPTER = (ROOT / "docs/manual/proxies-in-front.md").read_text(encoding="utf-8")
BLOCKS = {
    (mark, name): text
    for mark, name, text in re.findall(r"<!-- (proxy|config): (\S+) -->\n```\w+\n(.*?)```", CHAPTER, re.DOTALL)
}
PROXIES = ["nginx", "haproxy-http", "haproxy-tcp", "caddy"]


def test_every_configuration_is_run():
    assert {name for mark, name in BLOCKS if mark == "proxy"} == set(PROXIES)


def replaced(text, *changes):
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return text


def certificate(folder):
    """A certificate for this machine, and its key: one file each, and both in one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app.example")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1)).sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, data in (("cert.pem", pem), ("cert.key", private), ("both.pem", pem + private)):
        (folder / name).write_bytes(data)


def command(name, folder, port, upstream, internal):
    """Writes the configuration of the chapter for these ports. How the proxy is started with it."""
    text = BLOCKS["proxy", name]
    certificate(folder)
    ports = (("127.0.0.1:8000", f"127.0.0.1:{upstream}"),)
    if name == "nginx":
        text = replaced(
            text, ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"), *ports,
            ("/etc/nginx/app.example.pem", str(folder / "cert.pem")),
            ("/etc/nginx/app.example.key", str(folder / "cert.key")))
        paths = "".join(
            f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file = folder / "nginx.conf"
        file.write_text(f"daemon off; pid {folder}/pid; error_log stderr;\nevents {{}}\n"
                        f"http {{\naccess_log off;\n{paths}{text}}}\n")
        return ["nginx", "-e", "stderr", "-c", str(file)]
    if name.startswith("haproxy"):
        text = replaced(text, ("bind :443", f"bind 127.0.0.1:{port}"), *ports, ("port 9000", f"port {internal}"))
        if name == "haproxy-http":
            text = replaced(text, ("/etc/haproxy/app.example.pem", str(folder / "both.pem")))
        file = folder / "haproxy.cfg"
        file.write_text(text)
        return ["haproxy", "-db", "-f", str(file)]
    file = folder / "Caddyfile"
    options = f"{{\nadmin off\nstorage file_system {folder}/caddy\n}}\n"
    file.write_text(options + replaced(text, ("app.example {", f"http://127.0.0.1:{port} {{"), *ports))
    return ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]


class Busy(RuntimeError):
    """Its port was taken meanwhile."""


def in_front(name, server, internal, folder):
    """A proxy in front of a server. The port that it was to have may be another process's by then."""
    for attempt in range(3):
        (folder / str(attempt)).mkdir()
        try:
            return Front(name, server, internal, folder / str(attempt))
        except Busy:
            continue
    pytest.fail(f"{name} finds no port")


class Front:
    """A proxy in front of a server."""

    def __init__(self, name, server, internal, folder):
        self.name = name
        self.port = free_port()
        arguments = command(name, folder, self.port, server.port, internal)
        if not (shutil.which(arguments[0]) or shutil.which(arguments[0], path="/usr/sbin")):
            pytest.fail(f"{arguments[0]} is not installed")
        self.secure = name in ("nginx", "haproxy-http")
        self.log = (folder / "log").open("w+")
        arguments[0] = shutil.which(arguments[0]) or f"/usr/sbin/{arguments[0]}"
        home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        self.process = subprocess.Popen(
            arguments, stdout=self.log, stderr=self.log, cwd=folder, env={**os.environ, **home})
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                # A proxy that checks the server needs a moment to know that it is there.
                with self.websocket("127.0.0.1"):
                    return
            except Exception:
                time.sleep(0.1)
        self.stop()
        log = (folder / "log").read_text()
        kind = Busy if "already in use" in log.lower() else RuntimeError
        raise kind(f"{name} does not serve:\n{log}\n{server.log()[-2000:]}")

    def websocket(self, source, **more):
        raw = socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=(source, 0))
        url = f"ws://127.0.0.1:{self.port}/connection/websocket"
        if self.secure:
            return connect_secure(url, raw, self.context, "app.example", **more)
        return connect(url, sock=raw, proxy=None, **more)

    def client(self):
        scheme = "https" if self.secure else "http"
        return httpx.Client(base_url=f"{scheme}://127.0.0.1:{self.port}", verify=self.context, timeout=10)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            # Caddy waits for responses without an end.
            self.process.kill()
            self.process.wait(10)
        self.log.close()


@pytest.fixture(scope="module", params=PROXIES)
def front(request, tmp_path_factory):
    name = request.param
    settings = config()
    way = "proxy_protocol" if name == "haproxy-tcp" else "header"
    settings["http_server"] = json.loads(BLOCKS["config", way])["http_server"]
    internal = free_port()
    settings["http_server"]["internal_port"] = str(internal)
    settings["client"]["ip_connection_limit"] = 3
    settings["sse"] = settings["http_stream"] = {"enabled": True}
    with Server(settings, api_port=internal) as server:
        running = in_front(name, server, internal, tmp_path_factory.mktemp(name))
        running.server = server
        try:
            yield running
        finally:
            running.stop()


CONNECT = {"id": 1, "connect": {"token": jwt({"sub": "ann"})}}
SUBSCRIBE = {"id": 2, "subscribe": {"channel": "room:1"}}


def test_a_websocket_passes_with_its_messages(front):
    with front.websocket("127.0.0.1") as socket:
        socket.send(json.dumps(CONNECT) + "\n" + json.dumps(SUBSCRIBE))
        replies = []
        while len(replies) < 2:
            lines = map(json.loads, socket.recv(timeout=10).split("\n"))
            replies += [reply for reply in lines if "id" in reply]
        assert replies[1]["id"] == 2 and "error" not in replies[1]
        front.server.api("publish", channel="room:1", data={"text": "x" * 50_000})
        for _ in range(10):
            text = socket.recv(timeout=10)
            if '"pub"' in text:
                break
        assert len(text) > 50_000


def test_limits_count_the_address_of_the_client(front):
    with contextlib.ExitStack() as held:
        for source in ("127.0.0.5", "127.0.0.6"):
            for _ in range(3):
                held.enter_context(front.websocket(source, additional_headers={"X-Forwarded-For": "203.0.113.7"}))
            with pytest.raises(InvalidStatus) as refused, front.websocket(
                # A header of the client's own changes nothing.
                source, additional_headers={"X-Forwarded-For": "203.0.113.8"}
            ):
                pass
            assert refused.value.response.status_code == 429


def test_what_is_not_for_clients_does_not_pass(front):
    with front.client() as client:
        for path in ("/health", "/metrics", "/api/info"):
            answer = client.get(path)
            # Caddy answers what nobody is to answer with nothing.
            assert answer.status_code in (404, 503) or (answer.status_code, answer.text) == (200, ""), path


class Ended(Exception):
    """The stream ended before what was waited for."""


def streams_through(front, client, path, method):
    """The reply, and then a publication, come as they are made."""
    request = {"params": {"cf_connect": json.dumps(CONNECT)}} if method == "GET" else {"content": json.dumps(CONNECT)}
    with client.stream(method, path, **request) as stream:
        assert stream.status_code == 200, path
        lines = (line.removeprefix("data:").strip() for line in stream.iter_lines())
        replies = (json.loads(line) for line in lines if line.startswith("{"))

        def first(wanted):
            found = next((reply for reply in replies if wanted(reply)), None)
            if found is None:
                raise Ended(path)
            return found

        reply = first(lambda reply: reply.get("connect"))["connect"]
        sent = {"session": reply["session"], "node": reply["node"], "data": json.dumps(SUBSCRIBE)}
        answer = client.post("/emulation", json=sent)
        assert answer.status_code in (200, 204)
        first(lambda reply: reply.get("id") == 2)
        front.server.api("publish", channel="room:1", data={"through": path})
        push = first(lambda reply: reply.get("push", {}).get("pub"))
        assert push["push"]["pub"]["data"] == {"through": path}


def test_events_are_not_held_back(front):
    """SSE and HTTP streaming."""
    with front.client() as client:
        streams_through(front, client, "/connection/sse", "GET")
        # Caddy 2.6 sometimes closes the stream to the server right after its first bytes. Clients connect again.
        for attempt in range(5):
            try:
                streams_through(front, client, "/connection/http_stream", "POST")
                return
            except Ended:
                assert front.name == "caddy"
        pytest.fail("every stream ended")
