"""API keys with scopes, over HTTP and gRPC: what each allows, what callers hear, and that no key is ever shown."""
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import httpx
import jwt as pyjwt
import pytest
from cent import Client as Cent
from cent import CentError, PublishRequest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from server import API_KEY, ROOT, Server, config, free_port

pytestmark = pytest.mark.usefixtures("only_spinward")

sys.path.insert(0, str(ROOT / "crates/server/proto"))
api, services = grpc.protos_and_services("api.proto")
Code = grpc.StatusCode

PUBLISHER = "canary-publisher-key-2c51"
NEWER = "canary-publisher-key-of-tomorrow-77b0"
EXPIRED = "canary-expired-key-e310"
SLOW = "canary-slow-key-91d7"
WRONG = "canary-wrong-key-00af"
CANARIES = [PUBLISHER, NEWER, EXPIRED, SLOW, WRONG]
KEYS = [
    {"name": "publisher", "key": PUBLISHER, "methods": ["publish", "broadcast", "history"], "channels": ["recov:a*", "room:x"]},
    {"name": "publisher", "key": NEWER, "methods": ["publish", "broadcast", "history"], "channels": ["recov:a*", "room:x"]},
    {"name": "past", "key": EXPIRED, "valid_until": 1_000_000_000},
    {"name": "slow", "key": SLOW, "rate_limit": 3},
]


def settings(**extra):
    made = config()
    made["api_keys"] = KEYS
    made["prometheus"] = {"enabled": True}
    made["grpc_api"] = {"enabled": True, "address": "127.0.0.1", "port": free_port()}
    made.update(extra)
    return made


@pytest.fixture(scope="module")
def server():
    made = settings()
    with Server(made) as running:
        running.grpc = f"127.0.0.1:{made['grpc_api']['port']}"
        yield running


def post(server, key, method, header="X-API-Key", **params):
    value = key if header == "X-API-Key" else f"apikey {key}"
    return httpx.post(f"{server.http}/api/{method}", json=params, headers={header: value}, timeout=10)


def rpc(server, key, method, **fields):
    with grpc.insecure_channel(server.grpc) as channel:
        call = getattr(services.CentrifugoApiStub(channel), method)
        metadata = [("authorization", f"apikey {key}")] if key else []
        try:
            return call(getattr(api, f"{method}Request")(**fields), metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            return error.code(), error.details()


def test_a_key_allows_what_is_listed(server):
    for key in (PUBLISHER, NEWER):
        for header in ("X-API-Key", "Authorization"):
            assert post(server, key, "publish", header, channel="recov:a1", data=1).json()["result"]["offset"]
        assert rpc(server, key, "Publish", channel="room:x", data=b"1").HasField("result")
    assert server.api("history", channel="recov:a1")["offset"] == 4


def test_what_a_key_lacks_is_said_and_has_no_effect(server):
    for method, params, text in [
        ("info", {}, "the key publisher lacks the method info"),
        ("publish", {"channel": "recov:b", "data": 1}, "the key publisher lacks the channel recov:b"),
        ("publish", {"channel": "room:xy", "data": 1}, "the key publisher lacks the channel room:xy"),
        ("broadcast", {"channels": ["recov:a", "recov:b"], "data": 1}, "the key publisher lacks the channel recov:b"),
    ]:
        answer = post(server, PUBLISHER, method, **params)
        assert (answer.status_code, answer.json()) == (403, {"error": {"code": 103, "message": text}})
        fields = {**params, "data": b"1"} if "data" in params else params
        assert rpc(server, PUBLISHER, method.capitalize(), **fields) == (Code.PERMISSION_DENIED, text)
    assert server.api("history", channel="recov:a")["offset"] == 0
    assert server.api("history", channel="recov:b")["offset"] == 0


def test_a_batch_goes_on_without_what_is_not_allowed(server):
    commands = [{"publish": {"channel": "recov:ab", "data": 1}}, {"info": {}}, {"publish": {"channel": "recov:ab", "data": 2}}]
    answer = post(server, PUBLISHER, "batch", commands=commands)
    assert answer.status_code == 200
    assert [reply.get("error", {}).get("code") for reply in answer.json()["replies"]] == [None, 103, None]
    commands = [api.Command(publish=api.PublishRequest(channel="recov:ab", data=b"3")), api.Command(info=api.InfoRequest())]
    replies = rpc(server, PUBLISHER, "Batch", commands=commands).replies
    assert [reply.error.code for reply in replies] == [0, 103]
    lines = "\n".join(json.dumps({"id": n, "method": m, "params": p}) for n, m, p in [(1, "info", {}), (2, "publish", {"channel": "recov:ab", "data": 4})])
    answer = httpx.post(f"{server.http}/api", content=lines, headers={"X-API-Key": PUBLISHER})
    assert [json.loads(line).get("error", {}).get("code") for line in answer.text.splitlines()] == [103, None]
    kept = server.api("history", channel="recov:ab", limit=-1)["publications"]
    assert [publication["data"] for publication in kept] == [1, 2, 3, 4]


def test_wrong_and_expired_keys_are_the_same_to_their_callers(server):
    for key, told in ((WRONG, "reason.*key"), (EXPIRED, "the key past has expired")):
        since = server.mark()
        answer = post(server, key, "info")
        assert (answer.status_code, answer.text) == (401, "")
        assert rpc(server, key, "Info") == (Code.UNAUTHENTICATED, "unauthenticated")
        assert server.await_log(told, since)
    assert rpc(server, "", "Info") == (Code.UNAUTHENTICATED, "unauthenticated"), "keys are asked for without grpc_api.key"


def test_a_rate_holds_for_http_and_grpc_together(server):
    time.sleep(1.1)
    answers = [post(server, SLOW, "info") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    answer = post(server, SLOW, "info")
    if answer.status_code != 200:
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["error"]["code"]) == (429, "1", 111)
    codes = {rpc(server, SLOW, "Info") if isinstance(rpc(server, SLOW, "Info"), tuple) else None for _ in range(10)}
    assert (Code.RESOURCE_EXHAUSTED, "the key slow is limited to 3 calls per second") in codes
    time.sleep(1.1)
    assert post(server, SLOW, "info").status_code == 200


def test_the_single_key_works_as_before(server):
    assert post(server, API_KEY, "info").status_code == 200
    assert rpc(server, API_KEY, "Info") == (Code.UNAUTHENTICATED, "unauthenticated"), "it is the key of HTTP"


def test_cent_hears_of_it(server):
    cent = Cent(f"{server.http}/api", PUBLISHER)
    assert cent.publish(PublishRequest(channel="recov:ac", data=1)).offset == 1
    with pytest.raises(CentError) as raised:
        cent.publish(PublishRequest(channel="recov:b", data=1))
    assert "403" in str(raised.value)


def test_use_is_counted_by_name_and_no_key_is_shown(server):
    post(server, NEWER, "publish", channel="recov:a", data=1)
    post(server, NEWER, "info")
    post(server, WRONG, "publish", channel="recov:a", data=1)
    httpx.post(f"{server.http}/api/info?api_key={WRONG}", json={})
    metrics = httpx.get(f"{server.http}/metrics").text
    assert 'spinward_api_calls_total{key="publisher",method="publish"}' in metrics
    assert 'spinward_api_calls_denied_total{key="publisher",reason="method"}' in metrics
    answers = [post(server, key, "explain", user="x", action="connect", token=PUBLISHER).text for key in (API_KEY, PUBLISHER)]
    for canary in CANARIES:
        assert canary not in server.log() and canary not in metrics and canary not in "".join(answers)


def test_calls_are_counted_by_the_way_they_came_with_their_durations_and_errors(server):
    def counts():
        lines = httpx.get(f"{server.http}/metrics").text.splitlines()
        rows = (line.rpartition(" ") for line in lines if line.startswith("centrifugo_api_command"))
        return {name: float(value) for name, _, value in rows}

    def grown(name):
        return after.get(name, 0) - before.get(name, 0)

    before = counts()
    post(server, NEWER, "publish", channel="recov:a", data=1)
    post(server, API_KEY, "publish", channel="nobody:knows", data=1)
    assert rpc(server, NEWER, "History", channel="recov:a").error.code == 0
    after = counts()
    publish, history = 'protocol="http",method="publish"', 'protocol="grpc",method="history"'
    name = "centrifugo_api_command_duration_seconds"
    for family in (name, f"{name}_histogram"):
        assert grown(f"{family}_count{{{publish}}}") == 2 and grown(f"{family}_count{{{history}}}") == 1
        assert 0 < grown(f"{family}_sum{{{publish}}}") < 20
    assert grown(f'{name}_histogram_bucket{{{publish},le="+Inf"}}') == 2
    assert grown(f'centrifugo_api_command_errors_total{{{publish},error="102"}}') == 1
    assert not any(history in key and grown(key) for key in after if "errors" in key)


def test_a_reload_exchanges_keys_and_counts_go_on():
    made = settings()
    with Server(made) as server:
        post(server, PUBLISHER, "publish", channel="recov:a", data=1)
        made["api_keys"] = [{**KEYS[1]}]
        since = server.mark()
        server.file.write_text(json.dumps(made))
        server.hang_up()
        assert server.await_log("configuration reloaded", since)
        assert post(server, PUBLISHER, "publish", channel="recov:a", data=1).status_code == 401
        assert post(server, NEWER, "publish", channel="recov:a", data=1).status_code == 200
        assert 'spinward_api_calls_total{key="publisher",method="publish"} 2' in httpx.get(f"{server.http}/metrics").text
        since = server.mark()
        made["api_keys"] = [{**KEYS[1], "methods": ["pubish"]}]
        server.file.write_text(json.dumps(made))
        server.hang_up()
        assert server.await_log("there is no method .*pubish", since)
        assert post(server, NEWER, "publish", channel="recov:a", data=1).status_code == 200
        assert PUBLISHER not in server.log() and NEWER not in server.log()


# Tokens in place of keys.

class Provider(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"keys": [self.server.jwk]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def provider():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    server.key = ec.generate_private_key(ec.SECP256R1())
    server.jwk = {**json.loads(ECAlgorithm.to_jwk(server.key.public_key())), "kid": "one", "alg": "ES256"}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_tokens_of_an_issuer(provider):
    jwks = {"enabled": True, "endpoint": f"http://127.0.0.1:{provider.server_port}/keys", "issuer": "id", "audience": "rt", "scope": "rt:call"}
    made = settings()
    made["http_api"]["jwks"] = jwks
    made["grpc_api"]["jwks"] = jwks
    good = {"iss": "id", "aud": ["rt", "other"], "scope": "openid rt:call", "exp": int(time.time()) + 60}
    sign = lambda claims: pyjwt.encode(claims, provider.key, algorithm="ES256", headers={"kid": "one"})
    with Server(made) as server:
        server.grpc = f"127.0.0.1:{made['grpc_api']['port']}"

        def asked(token):
            over_http = httpx.post(f"{server.http}/api/info", json={}, headers={"Authorization": f"Bearer {token}"}).status_code
            with grpc.insecure_channel(server.grpc) as channel:
                call = services.CentrifugoApiStub(channel).Info
                try:
                    call(api.InfoRequest(), metadata=[("authorization", f"Bearer {token}")], timeout=10)
                    return over_http, Code.OK
                except grpc.RpcError as error:
                    return over_http, error.code()

        assert asked(sign(good)) == (200, Code.OK)
        assert asked(sign({**good, "scope": ["rt:call"]})) == (200, Code.OK)
        refused = (401, Code.UNAUTHENTICATED)
        for wrong in ({"scope": "rt:calls"}, {"scope": None}, {"aud": "other"}, {"iss": "else"}, {"exp": 1}, {"exp": None}):
            claims = {name: value for name, value in {**good, **wrong}.items() if value is not None}
            assert asked(sign(claims)) == refused, wrong
        token = sign(good)
        assert asked(token[:-6] + "AAAAAA") == refused
        assert asked("canary-no-token-5d0e") == refused
        assert post(server, API_KEY, "info").status_code == 200, "keys are accepted beside tokens"
        assert "canary-no-token-5d0e" not in server.log() and token not in server.log()
    made["http_api"]["jwks"] = {**jwks, "endpoint": f"http://127.0.0.1:{free_port()}/keys"}
    with Server(made) as server:
        answer = httpx.post(f"{server.http}/api/info", json={}, headers={"Authorization": f"Bearer {sign(good)}"})
        assert answer.status_code == 503


# The manual.

def test_the_manual():
    chapter = (ROOT / "docs/manual/api-keys.md").read_text()
    blocks = [block.split("```json\n")[1].split("```")[0] for block in chapter.split("<!-- config: ")[1:]]
    assert len(blocks) == 2
    with Server(json.loads(blocks[0])) as server:
        mailer = json.loads(blocks[0])["api_keys"][0]["key"]
        assert post(server, mailer, "publish", channel="inbox:1", data={}).json() == {"result": {}}
        answer = post(server, mailer, "disconnect", user="x")
        assert answer.json()["error"]["message"] == "the key mailer lacks the method disconnect"
    with Server(json.loads(blocks[1])) as server:
        assert post(server, "x", "info").status_code == 401
