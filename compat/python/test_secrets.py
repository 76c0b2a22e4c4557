"""Secrets go nowhere: not into the log, not into metrics, not into answers, whatever happens."""
import base64
import json
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from server import BIN, IS_SPINWARD, Server, config, free_port
from wire import Raw, b64u, frame, jwt

# One word for each thing that nobody must see; the tests look for the words.
KEY = "canary-hmac-key-6f1d"
API = "canary-api-key-9b2e"
OLD_KEY = "canary-previous-key-71aa"
INFO = "canary-info-3c44"
DATA = "canary-connect-data-88d0"
PAYLOAD = "canary-payload-5e5e"
WRONG_API = "canary-wrong-api-key-0d0d"
SUB_KEY = "canary-subscription-key-2f8a"
ISSUER_KEY = "canary-key-of-another-issuer-c0c0"
JWKS_HEADER = "canary-jwks-header-4d11"
JWKS_ANSWER = "canary-jwks-answer-9a3b"
# The one that is to be seen: where it is not, nobody looked at the right place.
USER = "canary-user-e7f2"

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="asks for what Spinward alone promises")


def settings(level):
    made = config(client={"token": {"hmac_secret_key": KEY, "hmac_previous_secret_key": OLD_KEY,
                                    "hmac_previous_secret_key_valid_until": int(time.time()) + 3600}})
    made["client"]["subscription_token"] = {"enabled": True, "hmac_secret_key": SUB_KEY}
    made["client"]["token"]["issuers"] = [{"name": "another", "issuer": "another", "hmac_secret_key": ISSUER_KEY}]
    made["client"]["token"]["issuer"] = "backend"
    made["client"]["connect_token_cookie"] = "session"
    made["client"]["allowed_origins"] = ["https://app.example"]
    made["log"]["level"] = level
    made["http_api"]["key"] = API
    made["prometheus"] = {"enabled": True}
    return made


def token(claims, key=KEY):
    return jwt({"iss": "backend", "info": {"note": INFO}, "meta": {"note": INFO}, **claims}, key=key)


def tokens():
    """Name, token: good ones and all kinds of bad ones."""
    good = token({"sub": USER})
    yield "good", good
    yield "by the previous key", token({"sub": USER}, key=OLD_KEY)
    yield "by another key", token({"sub": USER}, key="another")
    yield "of another issuer", token({"sub": USER, "iss": "another"}, key=ISSUER_KEY)
    yield "of an issuer with the key of another", token({"sub": USER, "iss": "another"})
    yield "of nobody", token({"sub": USER, "iss": "nobody"})
    yield "expired", token({"sub": USER, "exp": 1})
    yield "ahead", token({"sub": USER, "nbf": int(time.time()) + 999})
    yield "of the wrong type", token({"sub": 42})
    yield "unknown namespace", token({"sub": USER, "channels": ["nowhere:x"]})
    yield "bad base64", token({"sub": USER, "b64info": "%%"})
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
    for claims, key in [({"channel": "room:y"}, SUB_KEY), ({"channel": "room:x"}, SUB_KEY), ({"channel": "room:x"}, KEY), ({"channel": "room:x", "exp": 1}, SUB_KEY)]:
        sent.append(token({"sub": USER, "iss": "backend", **claims}, key=key))
        with Raw(server.port) as raw:
            raw.send_json({"id": 1, "connect": {"token": sent[0]}})
            raw.next()
            raw.send_json({"id": 2, "subscribe": {"channel": "room:x", "token": sent[-1]}})
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
        for made in sent:
            cookie = {"Cookie": f"session={made}", "Origin": "https://app.example"}
            came_back.append(client.get("/connection/websocket", headers=cookie).text)
            for asked in ({"action": "connect", "token": made}, {"action": "connect", "headers": cookie}, {"action": "refresh", "user": "other", "token": made},
                          {"action": "subscribe", "channel": "room:x", "user": USER, "subscription_token": made},
                          {"action": "sub_refresh", "channel": "room:x", "user": USER, "subscription_token": made}):
                came_back.append(client.post("/api/explain", json=asked, headers={"X-API-Key": API}).text)
        for broken in ({"action": "connect", "token": [sent[0]]}, {"action": "connect", "headers": {"a b": sent[0]}}, {"action": sent[0]}):
            came_back.append(client.post("/api/explain", json=broken, headers={"X-API-Key": API}).text)
        metrics = client.get("/metrics").text
    assert "refused" in metrics or "spinward" in metrics or "centrifugo" in metrics
    return sent, came_back, metrics


def secrets_of(sent):
    """What must be nowhere: the keys, and what of tokens tells of a key or is the user's."""
    parts = {part for made in sent for part in made.split(".") if len(part) > 12 and not part.startswith("eyJhbGciOi")}
    return [KEY, OLD_KEY, SUB_KEY, ISSUER_KEY, API, *parts]


@pytest.mark.parametrize("level", ["info", "debug", "trace"])
def test_canaries_stay_inside(level):
    with Server(settings(level)) as server:
        sent, came_back, metrics = exercise(server)
        assert server.await_log("signature_mismatch")
        log = server.log()
    for word in [*secrets_of(sent), WRONG_API, INFO, DATA, PAYLOAD]:
        assert word not in log, f"the log has {word!r}"
        assert word not in metrics, f"the metrics have {word!r}"
    for word in secrets_of(sent):
        assert not any(word in text for text in came_back), f"an answer has {word!r}"
    assert USER in log and any(USER in text for text in came_back), "nobody looked where the user is"


def run(*arguments, file):
    """Output of a command, on either of its two streams."""
    done = subprocess.run([BIN, "-c", str(file), *arguments], capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


def test_commands_print_no_secret(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings("trace")))
    printed = []
    sent = [made for _, made in tokens()]
    for made in sent:
        printed += [
            run("checktoken", made, file=file),
            run("checktoken", "--user", "other", "--channel", "closed:x", made, file=file),
            run("checksubtoken", made, file=file),
            run("explain", "--action", "connect", "--token", made, file=file),
            run("explain", "--json", "--action", "connect", f"--header=Cookie: session={made}", "--header=Origin: https://app.example", file=file),
            run("explain", "--channel", "room:x", "--user", USER, "--subscription-token", made, file=file),
            # Used wrongly: the usage is told, and not what was typed.
            run("explain", "--action", "connect", f"--header={made}", file=file),
        ]
    printed += [run("checkconfig", file=file), run("gentoken", "--user", USER, "-q", file=file)]
    for word in secrets_of(sent):
        assert not any(word in text for text in printed), f"a command prints {word!r}"
    assert any("signature_mismatch" in text for text in printed) and any(USER in text for text in printed)


def test_the_console_tells_no_secret_but_its_own(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings("trace")))
    port = free_port()
    with open(tmp_path / "log", "w+") as log:
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
        server = subprocess.Popen([BIN, "-c", str(file), "dev", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=log, env=env)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=httpx.HTTPTransport(retries=8)) as client:
                # The console has the API's key and a token, to try things with: for this machine alone.
                told = client.get("/dev/info").text
                assert API in told and client.get("/dev/info", headers={"Host": "elsewhere.example"}).status_code == 403
                console = {"X-Console-Key": json.loads(told)["console_key"]}
                came_back = []
                sent = [made for _, made in tokens()]
                for made in sent:
                    for asked in ({"token": made}, {"action": "connect", "token": made}, {"action": "subscribe", "channel": "closed:x", "user": USER, "subscription_token": made}):
                        came_back.append(client.post("/dev/explain", json=asked, headers=console).raise_for_status().text)
                    with Raw(port) as raw:
                        raw.send_json({"id": 1, "connect": {"token": made, "data": {"note": DATA}}})
                        came_back.append(json.dumps(raw.next()))
                came_back += [client.get(path).text for path in ("/", "/app.js", "/metrics", "/nothing")]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(10)
        log.seek(0)
        text = log.read()
    for word in secrets_of(sent):
        assert word not in text, f"the log has {word!r}"
        assert not any(word in answer for answer in came_back), f"the console is told {word!r}"
    for word in (KEY, OLD_KEY, SUB_KEY, ISSUER_KEY):
        assert word not in told
    assert any("signature_mismatch" in answer for answer in came_back) and any(USER in answer for answer in came_back)


class Provider(BaseHTTPRequestHandler):
    """Publishes a key set badly."""
    answers = [(500, JWKS_ANSWER), (200, JWKS_ANSWER), (200, json.dumps({"keys": [{"kid": "a", "kty": "oct", "k": JWKS_ANSWER}]}))]
    seen = []

    def do_GET(self):
        status, body = self.answers[len(self.seen) % len(self.answers)]
        self.seen.append(self.headers.get("X-Provider-Key"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Set-Cookie", JWKS_ANSWER)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def test_what_is_said_to_and_by_a_provider_of_keys_is_not_told():
    provider = HTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    made = settings("trace")
    made["client"]["token"]["jwks_public_endpoint"] = f"http://127.0.0.1:{provider.server_port}/keys"
    made["client"]["token"]["jwks_headers"] = {"X-Provider-Key": JWKS_HEADER}
    signed = jwt({"sub": USER, "iss": "backend"}, header={"alg": "RS256", "kid": "a"})
    try:
        with Server(made) as server, httpx.Client(base_url=server.http) as client:
            answers = []
            for _ in range(4):
                with Raw(server.port) as raw:
                    raw.send_json({"id": 1, "connect": {"token": signed}})
                    answers.append(json.dumps(raw.next()))
                answers.append(client.post("/api/explain", json={"action": "connect", "token": signed}, headers={"X-API-Key": API}).text)
            answers.append(client.get("/metrics").text)
            assert server.await_log("keys_unavailable|unknown_kid")
            log = server.log()
    finally:
        provider.shutdown()
    assert JWKS_HEADER in Provider.seen, "the header is sent"
    for word in (JWKS_HEADER, JWKS_ANSWER, KEY, signed.split(".")[2]):
        assert word not in log, f"the log has {word!r}"
        assert not any(word in text for text in answers), f"an answer has {word!r}"


def pem(label, text):
    return f"-----BEGIN {label}-----\n{base64.b64encode(text.encode()).decode()}\n-----END {label}-----\n"


# The option, a value that it cannot have, and what of it must not be told.
REFUSED = [
    ("rsa_public_key", "canary-no-pem-1d1d", "canary-no-pem"),
    ("rsa_public_key", pem("PRIVATE KEY", "canary-private-key-77"), base64.b64encode(b"canary-private-key-77").decode()),
    ("ecdsa_public_key", pem("PUBLIC KEY", "canary-public-88"), base64.b64encode(b"canary-public-88").decode()),
    ("ed25519_public_key", pem("EC PRIVATE KEY", "canary-old-form-99"), base64.b64encode(b"canary-old-form-99").decode()),
    ("keys", [{"type": "rsa", "key": "canary-rotated-key-31"}], "canary-rotated-key-31"),
    ("keys", [{"type": "canary", "key": "canary-rotated-key-32"}], "canary-rotated-key-32"),
    ("hmac_secret_key", ["canary-list-key-41"], "canary-list-key-41"),
    ("hmac_secret_key", {"key": "canary-object-key-42"}, "canary-object-key-42"),
    ("jwks_headers", "canary-header-51", "canary-header-51"),
    ("jwks_headers", {"a b": "canary-header-52"}, "canary-header-52"),
    ("jwks_headers", {"X-Key": "canary-header-53\r\nX: y"}, "canary-header-53"),
    ("jwks_ca_pem", "canary-certificate-61", "canary-certificate-61"),
]


@pytest.mark.parametrize(("option", "value", "canary"), REFUSED)
def test_a_key_that_is_refused_is_not_repeated(option, value, canary, tmp_path):
    made = settings("trace")
    made["client"]["token"][option] = value
    if option.startswith("jwks"):
        made["client"]["token"]["jwks_public_endpoint"] = "http://127.0.0.1:1/keys"
    file = tmp_path / "config.json"
    file.write_text(json.dumps(made))
    checked = run("checkconfig", file=file) + run("checktoken", token({"sub": USER}), file=file)
    with pytest.raises(RuntimeError) as refused:
        Server(made)
    text = str(refused.value) + checked
    assert option in text
    for word in (canary, KEY, OLD_KEY, SUB_KEY, ISSUER_KEY, API):
        assert word not in text, text
    with Server(settings("trace")) as server:
        # The same, reloaded by a server that runs: it goes on by what it had.
        server.file.write_text(json.dumps(made))
        server.hang_up()
        assert server.await_log(option, timeout=10.0)
        for word in (canary, KEY, OLD_KEY, SUB_KEY, ISSUER_KEY, API):
            assert word not in server.log()


def test_a_short_or_well_known_secret_is_warned_of_and_not_repeated():
    made = settings("info")
    made["client"]["token"]["hmac_secret_key"] = "canary-9"
    made["http_api"]["key"] = "canary-8"
    with Server(made) as server:
        assert server.await_log("hmac_secret_key") and server.await_log("http_api.key")
        for word in ("canary-9", "canary-8"):
            assert word not in server.log()


@pytest.mark.parametrize("value", ["canary-env-71,", "[canary-env-72", '{"a":"canary-env-73"}'])
def test_a_variable_that_is_refused_is_not_repeated(value):
    with pytest.raises(RuntimeError) as refused:
        Server(settings("trace"), env={"CLIENT_TOKEN_KEYS": value})
    assert "canary" not in str(refused.value), refused.value


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
