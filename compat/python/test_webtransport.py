"""WebTransport, with `aioquic`."""
import asyncio
import json
import subprocess

import pytest

from server import BIN, IS_SPINWARD, Server, config, free_port
from webtransport import Refused, certificate, session
from wire import jwt

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="Centrifugo v6.9 has it as an experiment")

CERTIFICATE, KEY = certificate()


def running(client=None, **options):
    settings = config(client=client)
    port = free_port()
    tls = {"enabled": True, "cert_pem": CERTIFICATE, "key_pem": KEY}
    settings["http_server"] = {"tls": tls, "tls_external": True, "http3": {"enabled": True}}
    settings["webtransport"] = {"enabled": True, **options}
    settings["prometheus"] = {"enabled": True}
    # The internal port is the one without TLS.
    internal = free_port()
    env = {"HTTP_SERVER_PORT": str(port), "HTTP_SERVER_INTERNAL_PORT": str(internal)}
    server = Server(settings, port=internal, env=env)
    server.quic = port
    return server


@pytest.fixture(scope="module")
def server():
    with running() as server:
        yield server


def run(test):
    return asyncio.run(asyncio.wait_for(test, 60))


async def login(client, user="7", **claims):
    client.send(json.dumps({"id": 1, "connect": {"token": jwt({"sub": user, **claims})}}).encode() + b"\n")
    return json.loads(await client.line())


async def call(client, **command):
    client.send(json.dumps(command).encode() + b"\n")
    while "id" not in (reply := json.loads(await client.line())):
        pass
    return reply


def test_a_client_does_what_it_does_over_websocket(server):
    async def test():
        async with session(server.quic) as client:
            reply = await login(client)
            assert len(reply["connect"]["client"]) == 36 and reply["connect"]["pong"]
            assert "session" not in reply["connect"], "nothing comes by requests"
            sub = await call(client, id=2, subscribe={"channel": "recov:a"})
            assert sub["subscribe"]["recoverable"]
            published = await call(client, id=3, publish={"channel": "recov:a", "data": {"n": 1}})
            assert published == {"id": 3, "publish": {}}
            history = await call(client, id=4, history={"channel": "recov:a", "limit": 10})
            assert [one["data"] for one in history["history"]["publications"]] == [{"n": 1}]
            position = sub["subscribe"]
        for n in (2, 3):
            server.api("publish", channel="recov:a", data={"n": n})
        async with session(server.quic) as client:
            await login(client)
            resume = {"recover": True, "epoch": position["epoch"], "offset": position.get("offset", 0)}
            sub = await call(client, id=2, subscribe={"channel": "recov:a", **resume})
            assert sub["subscribe"]["recovered"]
            assert [one["data"]["n"] for one in sub["subscribe"]["publications"]] == [1, 2, 3]

    run(test())


def test_protobuf_by_the_query(server):
    async def test():
        async with session(server.quic, "/connection/webtransport?cf_protocol=protobuf") as client:
            token = jwt({"sub": "7", "channels": ["recov:p"]}).encode()
            request = b"\x0a" + varint(len(token)) + token
            command = b"\x08\x01\x22" + varint(len(request)) + request
            client.send(varint(len(command)) + command)
            reply = await client.message()
            assert reply[:3] == b"\x08\x01\x2a", "a connect reply with id 1"
            server.api("publish", channel="recov:p", data="x")
            push = await client.message()
            assert b"recov:p" in push and b'"x"' in push

    run(test())


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def test_a_disconnect_has_its_code_in_both_places(server):
    async def test():
        async with session(server.quic) as client:
            await login(client, user="out")
            server.api("disconnect", user="out")
            last = json.loads(await client.line())
            assert last == {"push": {"disconnect": {"code": 3503, "reason": "force disconnect"}}}
            assert await asyncio.wait_for(client.ended, 10) == (3503, "force disconnect")

    run(test())


@pytest.mark.parametrize(
    "path, headers, status",
    [
        ("/connection/other", [], 404),
        ("/", [], 404),
        ("/connection/webtransport", [(b"origin", b"https://evil.example")], 403),
    ],
)
def test_refused_sessions(path, headers, status):
    async def test():
        with running(client={"allowed_origins": ["https://good.example"]}) as server:
            with pytest.raises(Refused) as refused:
                async with session(server.quic, path, headers):
                    pass
            assert refused.value.status == status
            async with session(server.quic, headers=[(b"origin", b"https://good.example")]) as client:
                assert "connect" in await login(client)

    run(test())


def test_caps_of_addresses_count_sessions():
    async def test():
        with running(client={"ip_connection_limit": 2}) as server:
            async with session(server.quic) as one, session(server.quic) as other:
                await login(one)
                await login(other)
                with pytest.raises(Refused) as refused:
                    async with session(server.quic):
                        pass
                assert refused.value.status == 429
            for _ in range(50):
                try:
                    async with session(server.quic) as client:
                        assert "connect" in await login(client)
                        return
                except Refused:
                    await asyncio.sleep(0.1)
            raise AssertionError("what has gone still counts")

    run(test())


def test_the_size_limit():
    async def test():
        with running(message_size_limit=1000) as server:
            async with session(server.quic) as client:
                await login(client)
                client.send(b"x" * 1001)
                assert json.loads(await client.line())["push"]["disconnect"]["code"] == 3501
                assert (await asyncio.wait_for(client.ended, 10))[0] == 3501

    run(test())


def test_a_burst_arrives_in_order(server):
    async def test():
        async with session(server.quic) as client:
            await login(client, channels=["room:burst"])
            for start in range(0, 5000, 500):
                commands = [
                    {"publish": {"channel": "room:burst", "data": {"n": n}}} for n in range(start, start + 500)
                ]
                await asyncio.to_thread(server.api, "batch", commands=commands)
            got = []
            while len(got) < 5000:
                push = json.loads(await client.line()).get("push", {})
                if "pub" in push:
                    got.append(push["pub"]["data"]["n"])
            assert got == list(range(5000))

    run(test())


def test_a_client_that_closes_its_session_is_gone(server):
    async def test():
        async with session(server.quic) as client:
            await login(client, user="leaver", channels=["room:leave"])
            assert "leaver" in str(server.api("presence", channel="room:leave"))
            client.close_session(0, b"bye")
            await asyncio.wait_for(client.ended, 10)
            for _ in range(50):
                if "leaver" not in str(server.api("presence", channel="room:leave")):
                    return
                await asyncio.sleep(0.05)
            raise AssertionError("it is still there")

    run(test())


def test_a_client_that_does_not_read_is_closed():
    async def test(server):
        closed = 'centrifugo_client_num_server_disconnects{code="3008"}'
        async with session(server.quic) as deaf, session(server.quic) as witness:
            await login(deaf, user="deaf", channels=["tags:slow"])
            await login(witness, channels=["tags:slow"])
            deaf._transport.pause_reading()
            for n in range(20):
                data = {"n": n, "much": "x" * 50_000}
                await asyncio.to_thread(server.api, "publish", channel="tags:slow", data=data)
                assert json.loads(await witness.line())["push"]["pub"]["data"]["n"] == n, "others miss nothing"
            assert closed in server._api.get("/metrics").text
            deaf._transport.resume_reading()
            assert await asyncio.wait_for(deaf.ended, 10) == (3008, "slow")

    with running(client={"queue_max_size": 256 << 10}) as server:
        run(test(server))


def test_silence_is_ended():
    async def test():
        with running(client={"stale_close_delay": "1s"}) as server:
            async with session(server.quic) as client:
                # A command without an end. (An empty one would be a bad request.)
                client.send(b"{")
                assert json.loads(await client.line())["push"]["disconnect"]["code"] == 3502
                assert await asyncio.wait_for(client.ended, 10) == (3502, "stale")
            async with session(server.quic) as silent:
                # It has a session, and opens no stream.
                await asyncio.wait_for(silent.ended, 15)

    run(test())


def test_a_stop_says_goodbye():
    async def test():
        with running() as server:
            async with session(server.quic) as client:
                await login(client)
                server.terminate()
                assert json.loads(await client.line())["push"]["disconnect"]["code"] == 3001

    run(test())


def test_headers_are_not_logged(server):
    async def test():
        mark = server.mark()
        async with session(server.quic, headers=[(b"cookie", b"token=hush")]) as client:
            await login(client)
            await call(client, id=2, subscribe={"channel": "room:log"})
        assert "hush" not in server.log(mark)

    run(test())


def test_it_is_counted_under_its_name(server):
    async def test():
        async with session(server.quic) as client:
            await login(client)
            metrics = server._api.get("/metrics").text
            assert 'centrifugo_client_connections_inflight{' in metrics
            assert any('transport="webtransport"' in line for line in metrics.splitlines()), metrics

    run(test())


def test_what_it_needs(tmp_path):
    for http_server, expected in (
        ({}, "http_server.http3.enabled"),
        ({"http3": {"enabled": True}}, "http_server.tls.enabled"),
    ):
        file = tmp_path / "config.json"
        file.write_text(json.dumps({"http_server": http_server, "webtransport": {"enabled": True}}))
        checked = subprocess.run([BIN, "checkconfig", "-c", str(file)], capture_output=True, text=True, timeout=20)
        assert checked.returncode != 0 and expected in checked.stdout + checked.stderr
