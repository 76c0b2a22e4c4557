"""Client events: what a recording back end is told of connections and subscriptions that begin and end."""
import json
import re
import time
from concurrent import futures

import grpc
import pytest

from server import IS_SPINWARD, ROOT, Server, config
from test_channel_events import Recorder, close, fails_four_times, metric, until
from test_event_proxies import Peer

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="client events are Spinward's")

CHAPTER = (ROOT / "docs/manual/event-proxies.md").read_text(encoding="utf-8")


def settings(endpoint, **events):
    made = config(namespaces=[{"name": "visits", "allow_subscribe_for_client": True, "presence": True}], client={
        "insecure": True,
        "proxy": {"events": {"enabled": True, "endpoint": endpoint, "timeout": "20s", "http": {"static_headers": {"X-Key": "k"}}}},
        "events": events,
    })
    made["prometheus"] = {"enabled": True}
    return made


def of(backend, client):
    return [(event["type"], event.get("channel"), event.get("code")) for event in backend.confirmed if event["client"] == client]


@pytest.fixture
def backend():
    backend = Recorder("events")
    yield backend
    backend.shutdown()


def test_a_visit_is_told_from_its_beginning_to_its_end(backend):
    with Server(settings(backend.url("events"))) as server:
        peer = Peer(server)
        for channel in ("visits:a", "visits:b"):
            assert "subscribe" in peer.command("subscribe", channel=channel)
        assert "unsubscribe" in peer.command("unsubscribe", channel="visits:a")
        assert "error" in peer.command("subscribe", channel="nobody:knows"), "a refused subscribe is no event"
        until(lambda: len(backend.confirmed) == 4, "what has begun, and the subscription that has ended")
        client = backend.confirmed[0]["client"]
        close(peer)
        until(lambda: len(backend.confirmed) == 6, "the end")
        assert of(backend, client) == [
            ("connected", None, None), ("subscribed", "visits:a", None), ("subscribed", "visits:b", None),
            ("unsubscribed", "visits:a", 0), ("unsubscribed", "visits:b", 1), ("disconnected", None, 3000),
        ]
        first, last = backend.confirmed[0], backend.confirmed[-1]
        assert set(first) == {"seq", "time_ms", "type", "client", "user", "transport", "protocol"}
        assert (first["transport"], first["protocol"]) == ("websocket", "json")
        assert set(last) == {"seq", "time_ms", "type", "client", "user", "code", "reason"} and last["reason"]
        assert abs(first["time_ms"] / 1000 - time.time()) < 60
        assert [event["seq"] for event in backend.confirmed] == [1, 2, 3, 4, 5, 6]
        headers, body = backend.seen("events")[0]
        info = server.api("info")["nodes"][0]
        assert headers["X-Key"] == "k" and (body["node"], body["node_id"]) == (info["name"], info["uid"])
        until(lambda: metric(server, "spinward_client_events_total") == 6, "the confirmation, counted")


def test_what_the_server_makes_and_ends_is_told_too(backend):
    with Server(settings(backend.url("events"))) as server:
        peer = Peer(server)
        until(lambda: backend.confirmed, "the login")
        client = backend.confirmed[0]["client"]
        server.api("subscribe", user="", client=client, channel="visits:api")
        until(lambda: len(backend.confirmed) == 2, "a subscription by the API")
        server.api("disconnect", user="", client=client)
        until(lambda: len(backend.confirmed) == 4, "the end")
        assert [event[0] for event in of(backend, client)] == ["connected", "subscribed", "unsubscribed", "disconnected"]
        assert of(backend, client)[-1][2] == 3503
        close(peer)
        # The stop ends a visit like anything else.
        Peer(server)
    assert [event["type"] for event in backend.confirmed[4:]] == ["connected", "disconnected"]


def test_a_failing_back_end_gets_each_event_at_least_once_and_in_order(backend):
    backend.answers["events"] = fails_four_times(backend)
    with Server(settings(backend.url("events"))) as server:
        peer = Peer(server)
        until(lambda: backend.seen("events"), "the first attempt")
        assert "subscribe" in peer.command("subscribe", channel="visits:a")
        until(lambda: len(backend.confirmed) == 2, "both events")
        attempts = [[event["seq"] for event in body["events"]] for _, body in backend.seen("events")]
        assert attempts == [[1]] * 5 + [[2]], attempts
        until(lambda: metric(server, "spinward_proxy_failures_total") == 4, "the failures, counted")


def test_events_without_room_leave_a_gap(backend):
    backend.answers["events"] = lambda handler, body: handler.give(b"{}", 500)
    with Server(settings(backend.url("events"), max_waiting=2, types=["subscribed"])) as server:
        peer = Peer(server)
        for channel in ("visits:a", "visits:b", "visits:c"):
            assert "subscribe" in peer.command("subscribe", channel=channel)
        until(lambda: metric(server, "spinward_client_events_dropped_total") == 1, "a dropped event")
        assert metric(server, "spinward_client_events_waiting") == 2
        assert server.await_log("client events were dropped", timeout=30)
        backend.answers["events"] = backend.take
        until(lambda: len(backend.confirmed) == 2, "what had waited")
        assert "subscribe" in peer.command("subscribe", channel="visits:d")
        until(lambda: len(backend.confirmed) == 3, "what came after")
        assert [(event["seq"], event["channel"]) for event in backend.confirmed] == [(1, "visits:a"), (2, "visits:b"), (4, "visits:d")]


def test_a_reload_begins_and_ends_the_report(backend):
    options = settings(backend.url("events"), types=["disconnected"])
    options["client"]["proxy"]["events"]["enabled"] = False
    with Server(options) as server:
        for enabled, expected in ((False, 0), (True, 1), (False, 1)):
            options["client"]["proxy"]["events"]["enabled"] = enabled
            server.file.write_text(json.dumps(options))
            mark = server.mark()
            server.hang_up()
            assert server.await_log("configuration reloaded", mark, timeout=15)
            close(Peer(server))
            # The numbers of `info` may be those of a moment ago.
            until(lambda: not server.api("connections")["connections"], "the end of the visit")
            until(lambda: len(backend.confirmed) == expected, "what is reported")
    assert len(backend.confirmed) == 1


def test_grpc_has_the_same_events():
    requests = []

    def notify(request, context):
        requests.append(request)
        return b"\x0a\x00"

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    method = grpc.unary_unary_rpc_method_handler(notify)
    service = "centrifugal.centrifugo.proxy.CentrifugoProxy"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"NotifyClientEvents": method})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with Server(settings(f"grpc://127.0.0.1:{port}", types=["disconnected"])) as spinward:
        close(Peer(spinward))
        until(lambda: requests, "a call")
    # An event: number 1, and further on its type.
    assert requests[0][:1] == b"\x0a" and requests[0][2:4] == b"\x08\x01" and b"\x1a\x0cdisconnected" in requests[0]
    server.stop(None)


def test_the_configuration_of_the_chapter_reports(backend):
    text = re.search(r"<!-- config: events -->\n```json\n(.*?)```", CHAPTER, re.DOTALL)[1]
    options = json.loads(text.replace("http://127.0.0.1:3000/events", backend.url("events")))
    options["client"]["insecure"] = True
    with Server(options):
        pass
    assert not backend.confirmed
    with Server(options) as server:
        close(Peer(server))
        until(lambda: [event["type"] for event in backend.confirmed] == ["connected", "disconnected"], "a visit")
