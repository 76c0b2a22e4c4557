"""Secrets go nowhere: not into the log, not into metrics, not into answers, whatever happens."""
import json
import time

import httpx
import pytest

from server import IS_SPINWARD, Server, config
from wire import Raw, b64u, frame, jwt

# One word for each thing that nobody must see; the tests look for the words.
KEY = "canary-hmac-key-6f1d"
API = "canary-api-key-9b2e"
OLD_KEY = "canary-previous-key-71aa"
INFO = "canary-info-3c44"
DATA = "canary-connect-data-88d0"
PAYLOAD = "canary-payload-5e5e"
WRONG_API = "canary-wrong-api-key-0d0d"

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="asks for what Spinward alone promises")


def settings(level):
    made = config(client={"token": {"hmac_secret_key": KEY, "hmac_previous_secret_key": OLD_KEY,
                                    "hmac_previous_secret_key_valid_until": int(time.time()) + 3600}})
    made["log"]["level"] = level
    made["http_api"]["key"] = API
    made["prometheus"] = {"enabled": True}
    return made


def token(claims, key=KEY):
    return jwt({"info": {"note": INFO}, "meta": {"note": INFO}, **claims}, key=key)


def tokens():
    """Name, token: good ones and all kinds of bad ones."""
    good = token({"sub": "42"})
    yield "good", good
    yield "by the previous key", token({"sub": "42"}, key=OLD_KEY)
    yield "by another key", token({"sub": "42"}, key="another")
    yield "expired", token({"sub": "42", "exp": 1})
    yield "ahead", token({"sub": "42", "nbf": int(time.time()) + 999})
    yield "of the wrong type", token({"sub": 42})
    yield "unknown namespace", token({"sub": "42", "channels": ["nowhere:x"]})
    yield "bad base64", token({"sub": "42", "b64info": "%%"})
    yield "unsigned", ".".join([b64u(b'{"alg":"none"}'), good.split(".")[1], ""])
    yield "cut short", good[:-9]
    yield "two parts", good.rsplit(".", 1)[0]
    yield "three times", good * 3


def exercise(server):
    """Uses everything that carries a secret; gives each token, and every byte that came back."""
    sent, came_back = [], []
    for _, made in tokens():
        sent.append(made)
        with Raw(server.port) as raw:
            raw.send_json({"id": 1, "connect": {"token": made, "data": {"note": DATA}, "headers": {"authorization": made}}})
            first = raw.next()
            came_back.append(json.dumps(first))
            if isinstance(first, dict) and "connect" in first:
                raw.send_json({"id": 2, "subscribe": {"channel": "closed:x", "token": made, "data": {"note": DATA}}})
                came_back.append(json.dumps(raw.next()))
    with Raw(server.port) as raw:
        raw.send_json({"id": 1, "connect": {"token": sent[0]}})
        raw.next()
        raw.send_json({"id": 2, "subscribe": {"channel": "room:x", "token": token({"sub": "42", "channel": "room:y"})}})
        came_back.append(json.dumps(raw.next()))
    with Raw(server.port) as raw:
        raw.send_json({"id": 1, "connect": {"token": sent[0]}})
        raw.next()
        raw.send_json({"id": 2, "refresh": {"token": token({"sub": "other"})}})
        came_back.append(json.dumps(raw.next()))
    # A token where no command is, one in a broken command, one in a path.
    for broken in (sent[0], '{"id":1,"connect":{"token":"' + sent[0], '{"id":1,"connect":{"token":' + sent[0] + "}}"):
        with Raw(server.port) as raw:
            raw.send(frame(broken))
            came_back.append(json.dumps(raw.next()))
    with httpx.Client(base_url=server.http) as client:
        for headers, query in [({"X-API-Key": API}, ""), ({"X-API-Key": WRONG_API}, ""), ({"Authorization": f"apikey {WRONG_API}"}, ""),
                               ({}, f"?api_key={API}"), ({}, f"?api_key={WRONG_API}")]:
            for body in ({"channel": "room:x", "data": {"note": PAYLOAD}}, {"channel": "nowhere:x", "data": {"note": PAYLOAD}}, {"channel": 5, "data": PAYLOAD}):
                came_back.append(client.post(f"/api/publish{query}", json=body, headers=headers).text)
        came_back.append(client.post("/api/info", json={}, headers={"X-API-Key": API}).text)
        came_back.append(client.get(f"/connection/websocket?token={sent[0]}", headers={"Authorization": f"Bearer {sent[0]}"}).text)
        came_back.append(client.get(f"/nothing/{sent[0]}").text)
        metrics = client.get("/metrics").text
    assert "refused" in metrics or "spinward" in metrics or "centrifugo" in metrics
    return sent, came_back, metrics


@pytest.mark.parametrize("level", ["info", "debug", "trace"])
def test_canaries_stay_inside(level):
    with Server(settings(level)) as server:
        sent, came_back, metrics = exercise(server)
        assert server.await_log("signature_mismatch")
        log = server.log()
    words = [KEY, OLD_KEY, API, WRONG_API, INFO, DATA, PAYLOAD]
    # A signature tells of the key, and a payload is the user's: parts of tokens are secrets as well.
    parts = {part for made in sent for part in made.split(".") if len(part) > 12 and not part.startswith("eyJhbGciOi")}
    for word in [*words, *parts]:
        assert word not in log, f"the log has {word!r}"
        assert word not in metrics, f"the metrics have {word!r}"
    for word in [KEY, OLD_KEY, API, *parts]:
        assert not any(word in text for text in came_back), f"an answer has {word!r}"


def test_a_configuration_that_is_refused_is_refused_without_its_secrets():
    made = settings("info")
    made["client"]["token"]["hmac_secret_keyy"] = KEY
    made["client"]["token"]["leeway"] = "no duration"
    with pytest.raises(RuntimeError) as refused:
        Server(made)
    text = str(refused.value)
    assert "leeway" in text
    for word in (KEY, OLD_KEY, API):
        assert word not in text
