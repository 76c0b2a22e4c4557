"""Two nodes that share an engine are one server: what is done at one of them holds at the other."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

import httpx
import pytest

from server import IS_SPINWARD, ROOT, Server, config, free_port
from wire import Raw, jwt

if not IS_SPINWARD:
    pytest.skip("the configuration is ours", allow_module_level=True)

SERVERS = ROOT / "compat/.work/servers/bin"
KEPT = {"history_size": 100, "history_ttl": "300s", "force_recovery": True, "presence": True, "join_leave": True,
        "force_push_join_leave": True, "allow_subscribe_for_client": True, "allow_history_for_subscriber": True,
        "allow_presence_for_subscriber": True, "allow_publish_for_subscriber": True}
FLEETING = {**{name: value for name, value in KEPT.items() if not name.startswith("history")}, "force_recovery": False,
            "presence": False}


class Process:
    """A server that an engine needs; ends with the block."""

    def __init__(self, arguments, port):
        self._folder = tempfile.TemporaryDirectory(prefix="spinward-engine-")
        self.port = port
        self._child = subprocess.Popen(arguments, cwd=self._folder.name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def signal(self, number):
        self._child.send_signal(number)

    def __exit__(self, *_):
        # A stopped process is not killed before it continues.
        self._child.send_signal(signal.SIGCONT)
        self._child.kill()
        self._child.wait()
        self._folder.cleanup()


def program(name):
    found = SERVERS / name
    path = str(found) if found.exists() else shutil.which(name)
    if path is None:
        if os.environ.get("SPINWARD_ENGINES"):
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed: cargo xtask test engines installs it")
    return path


def redis():
    port = free_port()
    return Process([program("redis-server"), "--port", str(port), "--save", ""], port)


def nats():
    port = free_port()
    return Process([program("nats-server"), "-p", str(port), "-js", "-sd", "data"], port)


def postgres():
    port = free_port()
    script = """
set -e
data=$PWD/data; mkdir "$data"
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then chown nobody . "$data"; chmod 700 "$data"; as() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }; fi
as "$1/initdb" -D "$data" -U admin -A trust -N > /dev/null
exec $(as true && [ "$(id -u)" = 0 ] && echo setpriv --reuid=nobody --regid=nogroup --clear-groups) \
    "$1/postgres" -D "$data" -p "$2" -k "$data" -c listen_addresses=127.0.0.1 -c fsync=off
"""
    folder = "/usr/lib/postgresql/15/bin" if os.path.exists("/usr/lib/postgresql/15/bin/initdb") else os.path.dirname(program("postgres"))
    return Process(["sh", "-c", script, "postgres", folder, str(port)], port)


ENGINES = {
    "postgres": (postgres, lambda port: {"engine": {"type": "postgres", "postgres": {"dsn": f"postgres://admin@127.0.0.1:{port}/postgres"}}}),
    "redis": (redis, lambda port: {"engine": {"type": "redis", "redis": {"address": f"redis://127.0.0.1:{port}"}}}),
    "nats": (nats, lambda port: {"engine": {"type": "nats", "nats": {"url": f"nats://127.0.0.1:{port}"}}}),
}


def settings(engine):
    base = config(without_namespace=KEPT, namespaces=[{"name": "fleeting", **FLEETING}])
    return {**base, "http_stream": {"enabled": True}, "prometheus": {"enabled": True}, **engine}


def eventually(holds, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("did not come to hold")


def ready(node):
    return httpx.get(f"{node.http}/readyz").status_code == 200


def failing(node):
    """Names of the parts that readiness waits for."""
    return {part["part"] for part in httpx.get(f"{node.http}/readyz").json().get("failing", [])}


@pytest.fixture(scope="module", params=sorted(ENGINES))
def cluster(request):
    start, options = ENGINES[request.param]
    with start() as engine:
        found = settings(options(engine.port))
        with Server(found) as one, Server(found) as two:
            eventually(lambda: ready(one) and ready(two))
            eventually(lambda: len(one.api("info")["nodes"]) == 2 and len(two.api("info")["nodes"]) == 2)
            yield one, two


def joined(node, channel, user="ann", recover=None):
    """A client that is subscribed, with the result of the subscribe."""
    raw = Raw(node.port)
    assert "connect" in raw.login({"sub": user})
    raw.send_json({"id": 2, "subscribe": {"channel": channel, **({"recover": True, **recover} if recover else {})}})
    reply = raw.next()
    while reply.get("id") != 2:
        reply = raw.next()
    return raw, reply["subscribe"]


def push(raw, kind):
    """The next push of this kind."""
    while True:
        got = raw.next()
        assert isinstance(got, dict), got
        if kind in got.get("push", {}):
            return got["push"][kind]


def test_publications_and_history_cross_over(cluster):
    one, two = cluster
    here, subscribed = joined(one, "a")
    there, _ = joined(two, "a", "bob")
    position = {"offset": subscribed.get("offset", 0), "epoch": subscribed["epoch"]}
    for number in range(1, 6):
        published = (one, two)[number % 2].api("publish", channel="a", data={"n": number})
        assert published["offset"] == position["offset"] + number
    for raw in (here, there):
        assert [push(raw, "pub")["data"]["n"] for _ in range(5)] == [1, 2, 3, 4, 5]
    history = two.api("history", channel="a", limit=-1)
    assert [one["data"]["n"] for one in history["publications"]][-5:] == [1, 2, 3, 4, 5]
    here.close()
    # It returns to the other node.
    again, subscribed = joined(two, "a", recover={"offset": position["offset"] + 2, "epoch": position["epoch"]})
    assert subscribed["recovered"] and [one["data"]["n"] for one in subscribed["publications"]] == [3, 4, 5]
    again.close()
    there.close()


def test_presence_joins_and_leaves_cross_over(cluster):
    one, two = cluster
    here, _ = joined(one, "p")
    # A join follows the reply, and nothing says how soon: before another node sends one, this one has to be there.
    assert push(here, "join")["info"]["user"] == "ann"
    there, _ = joined(two, "p", "bob")
    assert push(here, "join")["info"]["user"] == "bob"
    for node in (one, two):
        eventually(lambda: node.api("presence_stats", channel="p") == {"num_clients": 2, "num_users": 2})
    assert {one["user"] for one in two.api("presence", channel="p")["presence"].values()} == {"ann", "bob"}
    there.close()
    assert push(here, "leave")["info"]["user"] == "bob"
    eventually(lambda: one.api("presence_stats", channel="p")["num_clients"] == 1)
    here.close()


def test_channels_without_history_are_delivered(cluster):
    one, two = cluster
    here, _ = joined(one, "fleeting:x")
    published = two.api("publish", channel="fleeting:x", data=1)
    assert "offset" not in published
    assert push(here, "pub") == {"data": 1}
    here.send_json({"id": 3, "publish": {"channel": "fleeting:x", "data": 2}})
    assert push(here, "pub")["data"] == 2
    here.close()


def test_operations_reach_clients_of_every_node(cluster):
    one, two = cluster
    here, _ = joined(one, "o", "carol")
    two.api("subscribe", user="carol", channel="fleeting:own")
    assert push(here, "subscribe") is not None
    two.api("unsubscribe", user="carol", channel="fleeting:own")
    push(here, "unsubscribe")
    assert {"o"} <= set(two.api("channels")["channels"])
    two.api("disconnect", user="carol")
    assert here.until_close()[-1][1] == 3503


def test_revocations_reach_every_node(cluster):
    one, two = cluster
    raw = Raw(one.port)
    assert "connect" in raw.login({"sub": "dave", "jti": "t1"})
    two.api("revoke_token", uid="t1")
    assert raw.until_close()[-1][1] == 3500
    with Raw(one.port) as raw:
        assert raw.login({"sub": "dave", "jti": "t1"})[1] == 3500


def test_messages_of_streams_reach_the_node_of_their_session(cluster):
    one, two = cluster
    with httpx.stream("POST", f"{one.http}/connection/http_stream", json={"id": 1, "connect": {"token": jwt({"sub": "eve"})}}, timeout=10) as stream:
        lines = (json.loads(line) for line in stream.iter_lines() if line and line != "{}")
        connect = next(lines)["connect"]
        command = json.dumps({"id": 2, "subscribe": {"channel": "s"}})
        body = {"node": connect["node"], "session": connect["session"], "data": command}
        # By way of the node that does not have it.
        assert httpx.post(f"{two.http}/emulation", json=body).status_code == 204
        assert next(lines)["id"] == 2
        unknown = {**body, "node": "00000000-0000-0000-0000-000000000000"}
        assert httpx.post(f"{two.http}/emulation", json=unknown).status_code == 404


@pytest.mark.parametrize("name", ["nats", "redis"])
def test_readiness_names_an_engine_that_does_not_answer(name):
    start, options = ENGINES[name]
    with start() as engine, Server(settings(options(engine.port))) as node:
        eventually(lambda: ready(node))
        # The probe goes by then, so that it is more than a connection that is open.
        eventually(lambda: 'spinward_engine_lag_seconds{part="broker"' in httpx.get(f"{node.http}/metrics").text)
        engine.signal(signal.SIGSTOP)
        # The parts notice on their own connections, in no fixed order.
        eventually(lambda: "broker" in failing(node), 15)
        assert not ready(node)
        engine.signal(signal.SIGCONT)
        eventually(lambda: ready(node), 15)
