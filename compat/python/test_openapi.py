"""The description of the HTTP API: a valid document, which tells what calls and answers are really like."""
import asyncio
import json
import re
import sys
import time
from pathlib import Path

import cent
import httpx
import jsonschema
import pytest
import requests
from openapi_spec_validator import OpenAPIV31SpecValidator

from server import API_KEY, IS_SPINWARD, Server, config
from wire import Raw

CASES = Path(__file__).resolve().parents[1] / "cases"
# There are no channels of other kinds, and no extensions.
REFUSED = {
    "rpc", "map_publish", "map_remove", "map_read_state", "map_read_stream", "map_stats", "map_clear",
    "shared_poll_publish",
}
METHODS = REFUSED | {
    "publish", "broadcast", "subscribe", "unsubscribe", "disconnect", "refresh", "presence", "presence_stats",
    "history", "history_remove", "channels", "connections", "info", "block_user", "unblock_user", "revoke_token",
    "invalidate_user_tokens", "explain", "drain",
}


if not IS_SPINWARD:
    pytest.skip("the document of another server is its own", allow_module_level=True)


@pytest.fixture(scope="module")
def server():
    everything = {"presence": True, "history_size": 10, "history_ttl": "60s"}
    settings = config(without_namespace={"allow_subscribe_for_client": True, **everything})
    with Server({**settings, "swagger": {"enabled": True}}) as running:
        yield running


@pytest.fixture(scope="module")
def document(server):
    answer = httpx.get(f"{server.http}/swagger/openapi.json")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("application/json")
    return answer.json()


class Schemas:
    """The schemas of a document, to hold values against."""

    def __init__(self, document):
        self.document = document

    def faults(self, value, schema):
        whole = {**schema, "components": self.document["components"]}
        return [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(value)]

    def check(self, value, schema):
        assert self.faults(value, schema) == [], json.dumps(value)

    def operation(self, path):
        return self.document["paths"][path]["post"]

    def request(self, path):
        return self.operation(path)["requestBody"]["content"]["application/json"]["schema"]

    def response(self, path, status):
        """The schema of a JSON answer; a status that is not told of fails."""
        told = self.operation(path)["responses"][str(status)]
        if "$ref" in told:
            told = self.document["components"]["responses"][told["$ref"].rsplit("/", 1)[1]]
        return told.get("content", {}).get("application/json", {}).get("schema")

    def check_answer(self, path, status, content_type, text):
        schema = self.response(path, status)
        if "json" not in content_type:
            return
        assert schema, f"{path} answers {status} in JSON"
        for line in text.splitlines():
            self.check(json.loads(line), schema)


@pytest.fixture(scope="module")
def schemas(document):
    return Schemas(document)


def test_the_document_is_valid(document):
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_every_method_is_there(document):
    assert set(document["paths"]) == {f"/api/{method}" for method in METHODS} | {"/api/batch", "/api"}


def call(server, path, body, headers):
    return httpx.post(f"{server.http}{path}", json=body, headers={"X-API-Key": API_KEY, **headers})


def test_every_example_is_answered_as_the_document_says(server, document, schemas):
    for path in document["paths"]:
        example = schemas.operation(path)["requestBody"]["content"]["application/json"]["example"]
        schemas.check(example, schemas.request(path))
        refused = path.split("/")[-1] in REFUSED
        for headers in ({}, {"X-Centrifugo-Error-Mode": "transport"}):
            answer = call(server, path, example, headers)
            if path == "/api/drain":
                # A node is drained once.
                server.api("drain", cancel=True)
            assert (answer.status_code != 200) == bool(refused and headers), path
            assert ("error" in answer.json() or "code" in answer.json()) == refused, (path, answer.text)
            schemas.check_answer(path, answer.status_code, answer.headers["content-type"], answer.text)


def test_the_key_goes_where_the_document_says(server, document):
    schemes = document["components"]["securitySchemes"]
    assert document["security"] == [{name: []} for name in sorted(schemes)]
    assert len(schemes) == 3
    for name, scheme in schemes.items():
        assert scheme["type"] == "apiKey"
        key = f"apikey {API_KEY}" if name == "authorization" else API_KEY
        for shown, status in ((key, 200), (key + "x", 401)):
            place = {"headers" if scheme["in"] == "header" else "params": {scheme["name"]: shown}}
            assert httpx.post(f"{server.http}/api/info", json={}, **place).status_code == status, name
    assert httpx.post(f"{server.http}/api/info", json={}).status_code == 401


@pytest.mark.parametrize("body", ["{", "[]", '{"channel": 5}', '{"channel": "a", "version": -1}'])
def test_malformed_calls_are_answered_as_the_document_says(server, schemas, body):
    answer = httpx.post(f"{server.http}/api/publish", content=body, headers={"X-API-Key": API_KEY})
    assert answer.status_code == 400 and answer.headers["content-type"].startswith("text/plain")
    assert "text/plain" in schemas.operation("/api/publish")["responses"]["400"]["content"]


def test_what_the_official_library_sends_and_gets(server, schemas, monkeypatch):
    seen = []
    real = requests.Session.send

    def send(session, request, **kw):
        answer = real(session, request, **kw)
        path = "/" + request.url.split("/", 3)[3]
        seen.append((path, json.loads(request.body), answer))
        return answer

    monkeypatch.setattr(requests.Session, "send", send)
    api = cent.Client(f"{server.http}/api", API_KEY)
    with Raw(server.port) as raw:
        raw.login({"sub": "7"})
        api.subscribe(cent.SubscribeRequest(user="7", channel="c", data={"a": 1}, recover_since=cent.StreamPosition(offset=0, epoch="")))
        api.publish(cent.PublishRequest(channel="c", data={"a": 1}, tags={"a": "b"}, idempotency_key="k"))
        api.broadcast(cent.BroadcastRequest(channels=["c", "nowhere:c"], data="x"))
        api.presence(cent.PresenceRequest(channel="c"))
        api.presence_stats(cent.PresenceStatsRequest(channel="c"))
        page = api.history(cent.HistoryRequest(channel="c", limit=-1))
        api.history(cent.HistoryRequest(channel="c", limit=1, since=cent.StreamPosition(offset=1, epoch=page.epoch), reverse=True))
        api.history_remove(cent.HistoryRemoveRequest(channel="c"))
        api.channels(cent.ChannelsRequest(pattern="*"))
        api.info(cent.InfoRequest())
        api.refresh(cent.RefreshRequest(user="7", expire_at=int(time.time()) + 60))
        api.batch(cent.BatchRequest(requests=[cent.PublishRequest(channel="c", data=1), cent.InfoRequest()]))
        with pytest.raises(cent.CentApiResponseError):
            api.publish(cent.PublishRequest(channel="nowhere:c", data=1))
        api.unsubscribe(cent.UnsubscribeRequest(user="7", channel="c"))
        api.disconnect(cent.DisconnectRequest(user="7", disconnect=cent.Disconnect(code=4000, reason="bye")))
        api.block_user(cent.BlockUserRequest(user="8", expire_at=4102444800))
        api.unblock_user(cent.UnblockUserRequest(user="8"))
        api.revoke_token(cent.RevokeTokenRequest(uid="t", expire_at=4102444800))
        api.invalidate_user_tokens(cent.InvalidateUserTokensRequest(user="8", issued_before=1, expire_at=4102444800))
    assert len({path for path, _, _ in seen}) == 17
    for path, body, answer in seen:
        schemas.check(body, schemas.request(path))
        schemas.check_answer(path, answer.status_code, answer.headers["content-type"], answer.text)


def test_what_the_compatibility_cases_send_and_get():
    """Each answer is as told, and no call that is as told is malformed."""
    settings = json.loads((CASES / "config.json").read_text())
    with Server({**settings, "swagger": {"enabled": True}}) as server:
        schemas = Schemas(httpx.get(f"{server.http}/swagger/openapi.json").json())
        seen = asyncio.run(run_cases(f"127.0.0.1:{server.port}"))
    answered = told = 0
    for path, body, status, content_type, text in seen:
        if path not in schemas.document["paths"] or status in (401, 405):
            continue
        answered += 1
        schemas.check_answer(path, status, content_type, text)
        try:
            value = json.loads(body.decode(), parse_constant=refuse)
        except (ValueError, RecursionError):
            continue
        if schemas.faults(value, schemas.request(path)) == []:
            told += 1
            assert status != 400 or "json" in content_type, (path, body)
    assert answered > 250 and told > 150, (answered, told)


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


async def run_cases(address):
    """Runs the cases of the server API, and tells every request with its answer."""
    sys.path.insert(0, str(CASES))
    try:
        import lib
        import cases.j_api  # noqa: F401
        import cases.n_http  # noqa: F401
    finally:
        sys.path.remove(str(CASES))
    seen = []

    async def record(answer):
        await answer.aread()
        content_type = answer.headers.get("content-type", "")
        path = answer.request.url.raw_path.decode().split("?")[0]
        seen.append((path, answer.request.content, answer.status_code, content_type, answer.text))

    async with httpx.AsyncClient(event_hooks={"response": [record]}, trust_env=False) as http:
        for case in lib.CASES.values():
            t = lib.T(address, http, "openapi", case.name, False)
            await asyncio.wait_for(case.fn(t), 40)
            await t.finish()
    return seen


def test_the_page_needs_nothing_from_elsewhere(server):
    answer = httpx.get(f"{server.http}/swagger")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    # Its one script is the server's own, and nothing is loaded from another host; curl lines name the server's.
    assert re.findall("<script[^>]*>", answer.text) == ['<script src="/swagger/try.js" defer>']
    loaded = re.findall(r"(?:src|href)=\"([^\"]*)\"", answer.text)
    assert loaded and all(one.startswith(("/", "#")) and not one.startswith("//") for one in loaded), loaded
    for method in METHODS:
        assert f'id="{method}"' in answer.text
    assert 'href="/swagger/openapi.json"' in answer.text


def test_it_is_served_only_where_it_is_asked_for():
    with Server(config()) as server:
        assert httpx.get(f"{server.http}/swagger").status_code == 404
        assert httpx.get(f"{server.http}/swagger/openapi.json").status_code == 404
