"""Labels of connections: given at login, listed, and selecting connections; calls over HTTP, effects seen over WebSocket."""
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from server import API_KEY, Server, config, free_port
from wire import Raw, jwt

pytestmark = pytest.mark.usefixtures("only_spinward")

LIMITED = "channels-only-key"
FREE = {"key": "plan", "cmp": "eq", "val": "free"}


class Backend(BaseHTTPRequestHandler):
    """Logs a client in as `proxied`, and keeps what it is asked."""

    requests = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.path, body))
        result = {"user": "proxied", "labels": {"plan": "proxy"}} if self.path == "/connect" else {"data": {"ok": True}}
        answer = json.dumps({"result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    backend = ThreadingHTTPServer(("127.0.0.1", free_port()), Backend)
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{backend.server_port}"
    settings = config({"proxy": {"connect": {"enabled": True, "endpoint": f"{at}/connect"}}})
    settings["client"]["token"]["labels_from_claim"] = [{"key": "tier", "value": "account.tier"}]
    settings["rpc"] = {"without_namespace": {"proxy_enabled": True}, "proxy": {"endpoint": f"{at}/rpc"}}
    settings["api_keys"] = [{"name": "limited", "key": LIMITED, "channels": ["room:*"]}]
    with Server(settings) as running:
        yield running
    backend.shutdown()


class Client(Raw):
    def __init__(self, server, user, **claims):
        super().__init__(server.port)
        reply = self.login({"sub": user, **claims})
        self.id = reply["connect"]["client"]

    def ended(self):
        """The close code."""
        return self.until_close()[-1][1]

    def ask(self, number):
        """True if a command has a reply: the connection is there."""
        self.send_json({"id": number, "subscribe": {"channel": f"room:{number}"}})
        got = self.next()
        while not isinstance(got, tuple) and got.get("id") != number:
            got = self.next()
        return not isinstance(got, tuple)


def refused(server, method, key=API_KEY, **params):
    answer = httpx.post(f"{server.http}/api/{method}", json=params, headers={"X-API-Key": key}, timeout=10)
    return answer.json()["error"]["code"]


def test_labels_select_whom_to_disconnect(server):
    with Client(server, "l1", labels={"plan": "free"}) as free, Client(server, "l1", labels={"plan": "paid"}) as paid, Client(server, "l1") as none:
        server.api("disconnect", user="l1", label_filter=FREE)
        assert free.ended() == 3503
        assert paid.ask(2) and none.ask(2)
        server.api("disconnect", user="l1", label_filter={"key": "plan", "cmp": "nex"})
        assert none.ended() == 3503
        assert paid.ask(3)


def test_all_users_are_meant_where_that_is_said(server):
    with Client(server, "a1", labels={"fleet": "x"}) as one, Client(server, "a2", labels={"fleet": "x"}) as two, Client(server, "a3") as other:
        fleet = {"key": "fleet", "cmp": "ex"}
        server.api("subscribe", all_users=True, label_filter=fleet, channel="room:fleet")
        assert [client.next()["push"]["channel"] for client in (one, two)] == ["room:fleet"] * 2
        assert server.api("presence_stats", channel="room:fleet")["num_clients"] == 2
        server.api("unsubscribe", all_users=True, label_filter=fleet, channel="room:fleet")
        assert server.api("presence_stats", channel="room:fleet")["num_clients"] == 0
        server.api("refresh", all_users=True, label_filter=fleet, expired=True)
        assert (one.ended(), two.ended()) == (3005, 3005)
        assert other.ask(2)
        server.api("disconnect", all_users=True, disconnect={"code": 4500, "reason": "all"})
        assert other.ended() == 4500


def test_what_makes_no_sense_has_no_effect(server):
    with Client(server, "n1", labels={"plan": "free"}) as client:
        for method, params in [
            ("disconnect", {"user": "n1", "all_users": True}),
            ("disconnect", {"user": "n1", "label_filter": {}}),
            ("disconnect", {"all_users": True, "label_filter": {"key": "plan", "cmp": "like", "val": "free"}}),
            ("refresh", {"user": "n1", "expired": True, "label_filter": {"op": "and"}}),
            ("connections", {"label_filter": {"op": "xor", "nodes": [FREE]}}),
        ]:
            assert refused(server, method, **params) == 107, (method, params)
        assert refused(server, "connections", expression="true") == 108
        # A key for some channels does not end all logins, nor list them.
        for method, params in [("disconnect", {"all_users": True}), ("refresh", {"all_users": True, "expired": True}), ("connections", {})]:
            assert refused(server, method, key=LIMITED, **params) == 103, method
        assert client.ask(2)


def test_connections_are_listed_page_by_page(server):
    claims = [{"labels": {"plan": "free" if n % 2 else "paid", "n": str(n)}} for n in range(7)]
    clients = [Client(server, "page", **one) for one in claims]
    try:
        listed, cursor, pages = {}, "", 0
        while True:
            page = server.api("connections", user="page", limit=3, cursor=cursor)
            assert len(page["connections"]) <= 3 and "missing" not in page
            assert not listed.keys() & page["connections"].keys()
            listed.update(page["connections"])
            pages += 1
            if "cursor" not in page:
                break
            cursor = page["cursor"]
        assert pages == 3 and list(listed) == sorted(client.id for client in clients)
        first = listed[clients[0].id]
        node = server.api("info")["nodes"][0]["uid"]
        assert first == {"transport": "websocket", "protocol": "json", "user": "page", "labels": {"plan": "paid", "n": "0"}, "node": node}
        free = server.api("connections", label_filter={"op": "and", "nodes": [FREE, {"key": "n", "cmp": "gt", "val": "1"}]})
        assert {one["labels"]["n"] for one in free["connections"].values()} == {"3", "5"}
        assert server.api("connections", user="nobody") == {"connections": {}}
    finally:
        for client in clients:
            client.close()


def test_presence_has_pages(server):
    clients = [Client(server, "present") for _ in range(3)]
    try:
        for client in clients:
            client.send_json({"id": 2, "subscribe": {"channel": "room:pages"}})
            while client.next().get("id") != 2:
                pass
        whole = server.api("presence", channel="room:pages")
        assert len(whole["presence"]) == 3 and "cursor" not in whole
        first = server.api("presence", channel="room:pages", limit=2)
        rest = server.api("presence", channel="room:pages", limit=2, cursor=first["cursor"])
        assert [*first["presence"], *rest["presence"]] == sorted(client.id for client in clients)
        assert "cursor" not in rest
    finally:
        for client in clients:
            client.close()


def test_labels_come_from_claims_and_are_bounded(server):
    with Client(server, "c1", labels={"plan": "free"}, account={"tier": 2}) as client:
        labels = server.api("connections", user="c1")["connections"][client.id]["labels"]
        assert labels == {"plan": "free", "tier": "2"}
    # The application's own claim of that name.
    for labels in [["free"], {"n": 1}]:
        with Client(server, "c1", labels=labels) as client:
            assert "labels" not in server.api("connections", user="c1")["connections"][client.id]
    for labels in [{str(n): "" for n in range(33)}, {"n": "x" * 2048}]:
        with Raw(server.port) as client:
            since = server.mark()
            got = client.login({"sub": "c2", "labels": labels})
            assert got[:2] == ("close", 3500)
            assert server.await_log("claim_type:labels", since)


def test_a_connect_proxy_gives_labels_and_later_requests_have_them(server):
    with Raw(server.port) as client:
        client.send_json({"id": 1, "connect": {}})
        assert client.next()["connect"]["client"]
        client.send_json({"id": 2, "rpc": {"method": "m", "data": {}}})
        assert client.next()["rpc"]["data"] == {"ok": True}
        path, request = Backend.requests[-1]
        assert (path, request["labels"]) == ("/rpc", {"plan": "proxy"})
        assert [one["labels"] for one in server.api("connections", user="proxied")["connections"].values()] == [{"plan": "proxy"}]
    with Client(server, "c3") as client:
        client.send_json({"id": 2, "rpc": {"method": "m", "data": {}}})
        client.next()
        assert "labels" not in Backend.requests[-1][1]
