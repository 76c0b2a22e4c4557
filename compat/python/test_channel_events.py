"""Channel events: what a recording back end is told of channels that are occupied and vacated."""
import json
import re
import threading
import time
from concurrent import futures

import grpc
import httpx
import pytest

from server import IS_SPINWARD, ROOT, Server, config
from test_event_proxies import Backend, Peer

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="channel events of the open edition are Spinward's")

CHAPTER = (ROOT / "docs/manual/event-proxies.md").read_text(encoding="utf-8")
OPEN = {"allow_subscribe_for_client": True}
DELAY = 0.3


def settings(endpoint, namespace=None, **state):
    made = config(namespaces=[
        {"name": "told", **OPEN, "state_proxy_enabled": True, **(namespace or {})},
        {"name": "quiet", **OPEN},
    ], client={"insecure": True})
    # A request that is not answered in time is repeated, also one whose events the back end has taken.
    made["channel"]["proxy"] = {"state": {"endpoint": endpoint, "timeout": "20s", "http": {"static_headers": {"X-Key": "k"}}}}
    made["channel"]["state"] = {"vacated_event_delay": f"{int(DELAY * 1000)}ms", **state}
    made["prometheus"] = {"enabled": True}
    return made


def until(condition, what, timeout=30):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"not seen: {what}")


def metric(server, name):
    lines = httpx.get(f"{server.http}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(name + r"[ {]", line))


class Recorder(Backend):
    """Takes every event, unless it is told otherwise; `confirmed` has those of requests that it has confirmed."""

    def __init__(self, event="state"):
        super().__init__()
        self.confirmed, self.answers[event] = [], self.take

    def take(self, handler, body):
        self.confirmed.extend(body["events"])
        handler.give(b'{"result":{}}')

    def of(self, channel):
        return [event["type"] for event in self.confirmed if event["channel"] == channel]


@pytest.fixture
def backend():
    backend = Recorder()
    yield backend
    backend.shutdown()


def close(peer):
    peer.raw.sock.close()


def test_the_first_subscriber_and_the_last_are_told_of_and_nobody_between(backend):
    with Server(settings(backend.url("state"))) as server:
        one, other = Peer(server), Peer(server)
        for peer in (one, other):
            for channel in ("told:a", "quiet:a"):
                assert "subscribe" in peer.command("subscribe", channel=channel)
        until(lambda: backend.of("told:a") == ["occupied"], "the first subscriber")
        one.command("unsubscribe", channel="told:a")
        close(other)
        until(lambda: backend.of("told:a") == ["occupied", "vacated"], "the end of the last one, whose socket closed")
        assert "subscribe" in one.command("subscribe", channel="told:a")
        until(lambda: len(backend.of("told:a")) == 3, "a new subscriber")
        headers, body = backend.seen("state")[0]
        assert headers["X-Key"] == "k" and set(body) == {"events", "node", "node_id"}
        assert set(body["events"][0]) == {"time_ms", "channel", "type", "seq"}
        assert abs(body["events"][0]["time_ms"] / 1000 - time.time()) < 60
        info = server.api("info")["nodes"][0]
        assert (body["node"], body["node_id"]) == (info["name"], info["uid"])
        until(lambda: metric(server, "spinward_channel_events_total") == 3, "the confirmation, counted")
        assert metric(server, "spinward_channel_events_channels") == 1
    # The stop vacates what was occupied.
    assert backend.of("told:a") == ["occupied", "vacated"] * 2
    assert [event["seq"] for event in backend.confirmed] == [1, 2, 3, 4]
    assert not backend.of("quiet:a"), "nobody has asked about it"


def test_a_reconnect_is_no_event(backend):
    with Server(settings(backend.url("state"), vacated_event_delay="120s")) as server:
        for _ in range(3):
            peer = Peer(server)
            assert "subscribe" in peer.command("subscribe", channel="told:a")
            close(peer)
        marker = Peer(server)
        assert "subscribe" in marker.command("subscribe", channel="told:marker")
        until(lambda: backend.of("told:marker") == ["occupied"], "the marker")
        assert backend.of("told:a") == ["occupied"]


def fails_four_times(backend):
    """An answer that fails in four ways, and then takes every event."""
    failures = iter([
        lambda handler, body: handler.give(b"{}", 500),
        lambda handler, body: handler.give(b"<html>"),
        lambda handler, body: handler.give(b'{"error":{"code":1000,"message":"later"}}'),
        # It has taken them, and the confirmation is lost.
        lambda handler, body: handler.connection.close(),
    ])

    def answer(handler, body):
        (next(failures, None) or backend.take)(handler, body)

    return answer


def test_a_failing_back_end_gets_each_event_at_least_once_and_in_order(backend):
    backend.answers["state"] = fails_four_times(backend)
    with Server(settings(backend.url("state"))) as server:
        peer = Peer(server)
        assert "subscribe" in peer.command("subscribe", channel="told:a")
        until(lambda: backend.seen("state"), "the first attempt")
        # It leaves while the request is repeated, which is not changed by that.
        peer.command("unsubscribe", channel="told:a")
        until(lambda: backend.of("told:a") == ["occupied", "vacated"], "both events")
        attempts = [body["events"] for _, body in backend.seen("state")]
        assert len(attempts) == 6 and all(attempt == attempts[0] for attempt in attempts[:-1]), attempts
        assert metric(server, "spinward_proxy_failures_total") == 4
        assert server.await_log("proxy request failed")


def test_while_the_back_end_is_away_short_visits_cancel_out_and_the_rest_is_dropped(backend):
    backend.answers["state"] = lambda handler, body: handler.give(b"{}", 500)
    with Server(settings(backend.url("state"), max_waiting=2)) as server:
        peer = Peer(server)
        assert "subscribe" in peer.command("subscribe", channel="told:first")
        until(lambda: backend.seen("state"), "a request that fails")
        assert "subscribe" in peer.command("subscribe", channel="told:visit")
        assert "unsubscribe" in peer.command("unsubscribe", channel="told:visit")
        until(lambda: metric(server, "spinward_channel_events_merged_total") == 2, "a visit that cancels out")
        for channel in ("told:second", "told:third"):
            assert "subscribe" in peer.command("subscribe", channel=channel)
        until(lambda: metric(server, "spinward_channel_events_dropped_total") == 1, "a dropped event")
        assert server.await_log("channel events were dropped", timeout=10)
        backend.answers["state"] = backend.take
        until(lambda: backend.of("told:second") == ["occupied"], "what had waited")
        assert not backend.of("told:third") and not backend.of("told:visit")


def test_a_reload_begins_and_ends_reports(backend):
    options = settings(backend.url("state"), namespace={"state_proxy_enabled": False})
    (told,) = (namespace for namespace in options["channel"]["namespaces"] if namespace["name"] == "told")
    with Server(options) as server:
        peer = Peer(server)
        assert "subscribe" in peer.command("subscribe", channel="told:a")
        for enabled, events in ((True, ["occupied"]), (False, [])):
            told.update(state_proxy_enabled=enabled, state_events=["occupied"])
            server.file.write_text(json.dumps(options))
            mark = server.mark()
            server.hang_up()
            assert server.await_log("configuration reloaded", mark, timeout=15)
            if enabled:
                until(lambda: backend.of("told:a") == events, "a channel that was occupied before")
    assert backend.of("told:a") == ["occupied"], "nothing of the end is told"


def test_grpc_has_the_same_events():
    requests = []

    def notify(request, context):
        requests.append(request)
        # A confirmation: a result without fields.
        return b"\x0a\x00"

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    method = grpc.unary_unary_rpc_method_handler(notify)
    service = "centrifugal.centrifugo.proxy.CentrifugoProxy"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"NotifyChannelState": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Server(settings(f"grpc://127.0.0.1:{port}")) as spinward:
        peer = Peer(spinward)
        assert "subscribe" in peer.command("subscribe", channel="told:a")
        until(lambda: requests, "a call")
    until(lambda: len(requests) == 2, "the end")
    for request, kind in zip(requests, (b"occupied", b"vacated"), strict=True):
        assert b"\x12\x06told:a\x1a" + bytes([len(kind)]) + kind in request
    server.stop(0)


def test_the_back_end_of_the_manual_keeps_the_nodes_of_a_channel(backend):
    """The Python block of the chapter, as it stands, with its configuration."""
    code = re.search(r"<!-- backend: state -->\n```python\n(.*?)```", CHAPTER, re.DOTALL)[1]
    options = json.loads(re.search(r"<!-- config: state -->\n```json\n(.*?)```", CHAPTER, re.DOTALL)[1])
    kept = {}
    exec(compile(code, "backend", "exec"), kept)  # noqa: S102
    backend.answers["state"] = lambda handler, body: handler.give(json.dumps(kept["state"](body)).encode())
    options = json.loads(json.dumps(options).replace("http://127.0.0.1:3000/state", backend.url("state")))
    options["channel"]["namespaces"][0].update(OPEN)
    options["client"] = {"insecure": True}
    options["node"] = {"name": "n"}
    ids = []
    for _ in range(2):
        with Server(options) as server:
            peer = Peer(server)
            assert "subscribe" in peer.command("subscribe", channel="stocks:ACME")
            until(lambda: kept["occupied"].get("stocks:ACME") not in (None, set(), set(ids)), "the channel")
            (node_id,) = kept["occupied"]["stocks:ACME"]
            assert node_id not in ids, "the former node has gone with its name"
            ids.append(node_id)
            server._process.kill()
    repeated = backend.seen("state")[-1][1]
    kept["occupied"]["stocks:ACME"].clear()
    kept["state"](repeated)
    assert kept["occupied"]["stocks:ACME"] == set(), "a repetition changes nothing"


CACHE = {"history_size": 1, "history_ttl": "60s", "allow_recovery": True, "force_recovery": True, "force_recovery_mode": "cache",
         "allow_history_for_client": True}


@pytest.fixture
def caching(backend):
    options = config(namespaces=[
        {"name": "asked", **OPEN, **CACHE, "cache_empty_proxy_enabled": True},
        {"name": "auto", **OPEN, **CACHE, "cache_empty_proxy_enabled": True, "auto_cache_recover": True},
        {"name": "quiet", **OPEN, **CACHE},
    ], client={"insecure": True})
    options["channel"]["proxy"] = {"cache_empty": {"endpoint": backend.url("cache_empty"), "timeout": "5s"}}
    with Server(options) as server:
        def fill(handler, body):
            server.api("publish", channel=body["channel"], data={"filled": True})
            handler.give(b'{"result":{"populated":true}}')

        backend.answers["cache_empty"] = fill
        yield server


def latest(reply):
    assert "subscribe" in reply, reply
    return [publication["data"] for publication in reply["subscribe"].get("publications", [])]


def test_a_back_end_fills_an_empty_cache_before_the_subscribe_is_answered(backend, caching):
    peer = Peer(caching)
    assert latest(peer.command("subscribe", channel="asked:a", recover=True)) == [{"filled": True}]
    assert [body for _, body in backend.seen("cache_empty")] == [{"channel": "asked:a"}]
    assert latest(Peer(caching).command("subscribe", channel="asked:a", recover=True)) == [{"filled": True}]
    assert len(backend.seen("cache_empty")) == 1, "it is not empty any longer"
    assert latest(Peer(caching).command("subscribe", channel="auto:a")) == [{"filled": True}]
    assert len(backend.seen("cache_empty")) == 2
    assert latest(peer.command("subscribe", channel="asked:b")) == [], "a client that recovers nothing"
    assert latest(peer.command("subscribe", channel="quiet:a", recover=True)) == []
    assert len(backend.seen("cache_empty")) == 2


def test_a_cache_may_stay_empty(backend, caching):
    for answer in ({"result": {"populated": False}}, {"result": {}}):
        backend.answers["cache_empty"] = answer
        assert latest(Peer(caching).command("subscribe", channel="asked:a", recover=True)) == []
    assert len(backend.seen("cache_empty")) == 2, "each subscribe looks again"


def test_a_failure_fails_the_subscribe_which_can_be_repeated(backend, caching):
    fill, peer = backend.answers["cache_empty"], Peer(caching)
    for answer in (lambda handler, body: handler.give(b"{}", 500), {"error": {"code": 1000, "message": "no"}}):
        backend.answers["cache_empty"] = answer
        error = peer.command("subscribe", channel="asked:a", recover=True)["error"]
        assert error == {"code": 100, "message": "internal server error", "temporary": True}
    backend.answers["cache_empty"] = fill
    assert latest(peer.command("subscribe", channel="asked:a", recover=True)) == [{"filled": True}]


def test_subscribers_who_come_at_once_are_one_request(backend, caching):
    fill, going = backend.answers["cache_empty"], threading.Event()

    def slow(handler, body):
        assert going.wait(4)
        fill(handler, body)

    backend.answers["cache_empty"] = slow
    peers = [Peer(caching) for _ in range(8)]
    with futures.ThreadPoolExecutor(max_workers=8) as pool:
        replies = [pool.submit(peer.command, "subscribe", channel="asked:a", recover=True) for peer in peers]
        until(lambda: backend.seen("cache_empty"), "a request")
        # The commands of the others are on their way: a later one finds the cache filled.
        time.sleep(0.3)
        going.set()
        assert all(latest(reply.result()) == [{"filled": True}] for reply in replies)
    assert len(backend.seen("cache_empty")) == 1
