"""Log lines and errors that name the cause and the option to change."""
import json
import subprocess

import httpx
import pytest

from server import API_KEY, BIN, Server, config, free_port
from wire import Raw, b64u, jwt


@pytest.fixture(scope="module")
def server():
    settings = config(client={"token": {"jwks_public_endpoint": f"http://127.0.0.1:{free_port()}/jwks"}})
    settings["log"]["level"] = "info"
    with Server(settings) as server:
        yield server


@pytest.mark.parametrize(("body", "key", "status", "reason"), [
    ("{}", "wrong-key-of-this-test", 401, "key"),
    ("[]", API_KEY, 400, "malformed"),
    ('{"channel": 5, "data": 1}', API_KEY, 400, "malformed"),
    ("x" * (70 << 20), API_KEY, 413, "body"),
])
def test_a_refused_api_call_is_logged_with_path_and_reason(server, body, key, status, reason):
    mark = server.mark()
    with httpx.Client() as client:
        answer = client.post(f"{server.http}/api/publish", content=body, headers={"X-API-Key": key})
    assert answer.status_code == status
    assert server.await_log(f'API call refused.*publish.*{status}.*{reason}', since=mark), server.log(mark)
    assert "wrong-key-of-this-test" not in server.log(mark)


def test_a_malformed_field_is_named(server):
    mark = server.mark()
    httpx.post(f"{server.http}/api/history", content='{"channel": "x", "limit": "many"}', headers={"X-API-Key": API_KEY})
    assert server.await_log("API call refused.*field limit", since=mark), server.log(mark)


def test_an_sdk_of_the_old_protocol_is_recognised_where_it_may_not_log_in():
    settings = config(client={"legacy": False})
    settings["log"]["level"] = "info"
    with Server(settings) as server, Raw(server.port) as raw:
        raw.send_json({"id": 1, "method": 1, "params": {"token": jwt({"sub": "7"})}})
        assert raw.next()[:2] == ("close", 3501)
        assert server.await_log("old protocol v1.*current SDK"), server.log()


def test_a_command_of_an_old_sdk_before_its_connect_is_recognised():
    settings = config()
    settings["log"]["level"] = "info"
    with Server(settings) as server, Raw(server.port) as raw:
        raw.send_json({"id": 1, "method": 1, "params": {"channel": "c"}})
        assert raw.next()[0] == "close"
        assert server.await_log("before connect, in protocol v1 of old SDKs"), server.log()


def test_a_key_set_that_cannot_be_fetched_says_why(server):
    mark = server.mark()
    token = ".".join(b64u(part) for part in (b'{"alg":"RS256","kid":"a"}', b'{"sub":"1"}', b"x" * 256))
    with Raw(server.port) as raw:
        raw.send_json({"id": 1, "connect": {"token": token}})
        assert raw.next()["error"]["code"] == 100
    assert server.await_log("no connection to the endpoint: .*refused", since=mark), server.log(mark)


def test_a_pid_file_that_cannot_be_written_is_named(tmp_path):
    settings = {**config(), "pid_file": str(tmp_path / "missing" / "x.pid"), "http_server": {"port": free_port()}}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(settings))
    ran = subprocess.run([BIN, "-c", file], capture_output=True, text=True, timeout=20)
    assert ran.returncode == 1
    assert f"pid_file: cannot write {settings['pid_file']}" in ran.stderr + ran.stdout
