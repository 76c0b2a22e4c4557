"""TLS: what clients of every kind meet, and certificates that are exchanged under them."""
import base64
import json
import shutil
import socket
import ssl
import subprocess
import time

import httpx
import pytest
from websockets.exceptions import WebSocketException

from authority import Authority
from secure import connect_secure
from server import API_KEY, SECRET, Server, config, free_port

pytestmark = pytest.mark.usefixtures("only_spinward")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


def settings(tls, **http):
    return {
        **config(client={"allow_anonymous_connect_without_token": True}, without_namespace={
            "allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True,
        }),
        "http_server": {"tls": {"enabled": True, **tls}, **http},
        "prometheus": {"enabled": True},
    }


@pytest.fixture(scope="module")
def server(authority):
    certificate, key = authority.write(*authority.issue())
    with Server(settings({"cert_pem": str(certificate), "key_pem": str(key)})) as running:
        yield running


def trusting(authority, **options):
    context = ssl.create_default_context(cafile=str(authority.file))
    for name, value in options.items():
        setattr(context, name, value)
    return context


def url(server):
    return f"wss://localhost:{server.port}/connection/websocket"


def open_socket(server, context):
    # By address, since `localhost` may be the other family's.
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    return connect_secure(url(server), raw, context, "localhost")


def log_in(client, channel="news"):
    client.send(json.dumps({"id": 1, "connect": {}}) + "\n" + json.dumps({"id": 2, "subscribe": {"channel": channel}}))
    replies = []
    while len(replies) < 2:
        replies += [json.loads(line) for line in client.recv(timeout=10).splitlines() if line != "{}"]
    assert "connect" in replies[0] and "subscribe" in replies[1], replies


def publish(server, authority, data):
    answer = httpx.post(
        f"https://localhost:{server.port}/api/publish", headers={"X-API-Key": API_KEY},
        json={"channel": "news", "data": data}, verify=trusting(authority), timeout=10,
    )
    assert answer.json() == {"result": {}}, answer.text


def received(client):
    while True:
        for line in client.recv(timeout=10).splitlines():
            if line == "{}":
                client.send("{}")
            else:
                return json.loads(line)["push"]["pub"]["data"]


def serial(server, authority):
    """Serial number of the certificate that new connections meet."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        with trusting(authority).wrap_socket(raw, server_hostname="localhost") as stream:
            return stream.getpeercert()["serialNumber"]


def test_a_websocket_over_tls(server, authority):
    with open_socket(server, trusting(authority)) as client:
        log_in(client)
        for data in [1, "x" * 100_000, {"a": [2]}]:
            publish(server, authority, data)
            assert received(client) == data


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_by_both_versions_of_http(server, authority, option, version):
    out = subprocess.run(
        ["curl", "-sS", option, "--cacert", authority.file, "-w", "%{http_version} %{http_code}", "-o", "/dev/null",
         f"https://127.0.0.1:{server.port}/health"],
        capture_output=True, text=True, timeout=20, check=True,
    )
    assert out.stdout == f"{version} 200"


def test_protocols_within_are_negotiated(server, authority):
    for offered, chosen in [(["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1"), ([], None)]:
        context = trusting(authority)
        if offered:
            context.set_alpn_protocols(offered)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            with context.wrap_socket(raw, server_hostname="localhost") as stream:
                assert stream.selected_alpn_protocol() == chosen


def test_a_request_without_tls_is_told_so(server):
    answer = httpx.get(f"http://127.0.0.1:{server.port}/health")
    assert answer.status_code == 400 and "https://" in answer.text


def version(server, authority, minimum, maximum):
    context = trusting(authority, minimum_version=minimum, maximum_version=maximum)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
        with context.wrap_socket(raw, server_hostname="localhost") as stream:
            return stream.version()


def test_versions(server, authority):
    V = ssl.TLSVersion
    assert version(server, authority, V.TLSv1_2, V.TLSv1_2) == "TLSv1.2"
    assert version(server, authority, V.TLSv1_2, V.TLSv1_3) == "TLSv1.3"
    with pytest.warns(DeprecationWarning), pytest.raises((ssl.SSLError, ConnectionError)):
        version(server, authority, V.TLSv1, V.TLSv1_1)
    certificate, key = authority.write(*authority.issue(), stem="strict")
    strict = settings({"cert_pem": str(certificate), "key_pem": str(key), "min_version": "1.3"})
    with Server(strict) as running:
        assert version(running, authority, V.TLSv1_2, V.TLSv1_3) == "TLSv1.3"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            version(running, authority, V.TLSv1_2, V.TLSv1_2)


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed(server, authority, tmp_path, option):
    session = tmp_path / "session"

    def shaken(*options):
        out = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", authority.file, option, *options],
            input=f"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", capture_output=True, text=True,
            timeout=20,
        ).stdout
        assert "Verify return code: 0 (ok)" in out, out
        return out

    first = shaken("-sess_out", session, "-ign_eof")
    assert "New, TLS" in first
    assert "Reused, TLS" in shaken("-sess_in", session, "-ign_eof")


def test_clients_need_a_certificate_where_that_is_wanted(authority, tmp_path):
    other = Authority(tmp_path, "another")
    certificate, key = authority.write(*authority.issue(), stem="mutual")
    tls = {"cert_pem": str(certificate), "key_pem": str(key), "client_ca_pem": authority.text}
    with Server(settings(tls)) as running:
        known = trusting(authority)
        known.load_cert_chain(*authority.write(*authority.issue("a client"), stem="client"))
        with open_socket(running, known) as client:
            log_in(client)
        stranger = trusting(authority)
        stranger.load_cert_chain(*other.write(*other.issue("a stranger"), stem="client"))
        for context in [trusting(authority), stranger]:
            with pytest.raises((OSError, EOFError, WebSocketException)):
                with open_socket(running, context) as client:
                    log_in(client)


@pytest.mark.parametrize("form", ["text", "base64", "file"])
def test_the_forms_of_pem(authority, form):
    certificate, key = authority.issue()
    if form == "base64":
        certificate, key = (base64.b64encode(text.encode()).decode() for text in (certificate, key))
    elif form == "file":
        certificate, key = map(str, authority.write(certificate, key, stem="form"))
    environment = {"HTTP_SERVER_TLS_CERT_PEM": certificate, "HTTP_SERVER_TLS_KEY_PEM": key}
    with Server(settings({}), env=environment) as running:
        assert serial(running, authority)


def test_the_internal_port(authority, tmp_path):
    internal = free_port()
    certificate, key = map(str, authority.write(*authority.issue(), stem="outer"))
    other = Authority(tmp_path, "internal")
    own, own_key = map(str, other.write(*other.issue(), stem="inner"))
    pair = {"cert_pem": certificate, "key_pem": key}
    plain, same = f"http://127.0.0.1:{internal}/health", f"https://127.0.0.1:{internal}/health"

    def start(**http):
        return Server(settings(pair, internal_port=str(internal), **http))

    with start():
        assert httpx.get(same, verify=trusting(authority)).status_code == 200
    with start(tls_external=True):
        assert httpx.get(plain).status_code == 200
    with start(tls_external=True, internal_tls={"enabled": True, "cert_pem": own, "key_pem": own_key}):
        assert httpx.get(same, verify=trusting(other)).status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(same, verify=trusting(authority))


def metric(server, authority, name):
    page = httpx.get(f"https://localhost:{server.port}/metrics", verify=trusting(authority)).text
    lines = [line for line in page.splitlines() if line.startswith(name)]
    assert len(lines) == 1, (name, lines)
    return float(lines[0].rsplit(" ", 1)[1])


def until(condition, timeout=15):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def test_a_certificate_is_exchanged_and_nobody_is_disconnected(authority):
    certificate, key = authority.write(*authority.issue(days=80), stem="moving")
    with Server(settings({"cert_pem": str(certificate), "key_pem": str(key)})) as running:
        with open_socket(running, trusting(authority)) as client:
            log_in(client)
            first = serial(running, authority)

            # The files change.
            authority.write(*authority.issue(days=70), stem="moving")
            until(lambda: serial(running, authority) != first)
            second = serial(running, authority)

            # They are wrong: the certificate is another one's.
            mark = running.mark()
            certificate.write_text(authority.issue()[0])
            until(lambda: "does not belong to the certificate" in running.log(mark))
            line = next(line for line in running.log(mark).splitlines() if "does not belong" in line)
            assert "http_server.tls.key_pem" in line and "keeping the current certificate" in line
            assert serial(running, authority) == second
            exchanges = "spinward_tls_certificate_exchanges_total"
            assert metric(running, authority, exchanges + '{port="external",result="failure"}') == 1

            # A reload says the same, and changes nothing.
            mark = running.mark()
            running.hang_up()
            assert running.await_log("configuration reload failed", mark)
            assert serial(running, authority) == second

            # Good ones again, by a reload.
            mark = running.mark()
            authority.write(*authority.issue(days=60), stem="moving")
            running.hang_up()
            assert running.await_log("configuration reloaded", mark)
            assert serial(running, authority) != second
            left = metric(running, authority, "spinward_tls_certificate_expiry_timestamp_seconds") - time.time()
            assert 59 < left / 86_400 < 61

            publish(running, authority, "still here")
            assert received(client) == "still here"


def test_certificates_that_expire_are_warned_of(authority):
    for days, text in [(5, "expires soon"), (-1, "has expired")]:
        certificate, key = authority.write(*authority.issue(days=days), stem="old")
        with Server(settings({"cert_pem": str(certificate), "key_pem": str(key)})) as running:
            assert running.await_log(f"http_server.tls.cert_pem: the certificate {text}")


def test_half_a_handshake_ends(server):
    """Those that say nothing, half a hello, or no TLS at all are closed, and no later than those without TLS."""
    begun = time.monotonic()
    peers = []
    for sent in [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x16"]:
        peer = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        peer.sendall(sent)
        peers.append(peer)
    for peer in peers:
        with peer:
            try:
                peer.recv(100)
            except ConnectionError:
                pass
    assert 8 < time.monotonic() - begun < 15
