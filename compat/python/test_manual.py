"""The Python and configuration blocks of the manual, run as they stand."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from manual import MANUAL, blocks
from server import IS_SPINWARD, ROOT, Server, config
from wire import Raw

PYTHON = blocks("python")
CONFIG = blocks("json")
# Blocks written for the old PyJWT alone.
OLD_ONLY = {"simplest-pyjwt1"}


@pytest.fixture(scope="module")
def server():
    with Server(config()) as running:
        yield running


@pytest.fixture(scope="module")
def old_python():
    """A Python with PyJWT 1.7.1: PYJWT1_PYTHON, or an environment made for it."""
    given = os.environ.get("PYJWT1_PYTHON")
    if given:
        return given
    home = ROOT / "compat/.work/pyjwt1"
    python = home / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    here = Path(__file__).parent
    subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(here / "requirements-pyjwt1.txt")], check=True)
    return str(python)


def run(python, code):
    """Runs a block in a process of its own; its last word is the token, which the harness asks for in both forms."""
    ask = "\nimport json, jwt as _j\nprint('\\n' + json.dumps([_j.__version__, token.decode() if isinstance(token, bytes) else token, isinstance(token, bytes)]))\n"
    out = subprocess.run([python, "-c", code + ask], capture_output=True, text=True, timeout=60)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout.splitlines()[-1])


def login(server, token):
    raw = Raw(server.port)
    raw.send_json({"id": 1, "connect": {"token": token}})
    return raw, raw.next()


def judge(server, name, token):
    """What the chapter says about the token of a block."""
    raw, first = login(server, token)
    with raw:
        assert isinstance(first, dict) and "connect" in first, f"{name}: {first}"
        reply = first["connect"]
        if name in ("exp", "backend"):
            assert reply["expires"] is True and 290 <= reply["ttl"] <= 300
        else:
            assert "expires" not in reply
        if name == "subs":
            assert reply["subs"]["news"]["data"] == {"since": "today"}
            server.api("publish", channel="news", data={"n": 1})
            while "pub" not in (got := raw.next()).get("push", {}):
                pass
            assert got["push"]["pub"] == {"data": {"n": 1}}
            return
        raw.send_json({"id": 2, "subscribe": {"channel": "room:manual"}})
        while "id" not in (got := raw.next()):
            pass
        if name == "anonymous":
            assert got["error"]["code"] == 103, "the anonymous need allow_subscribe_for_anonymous"
            return
        assert "subscribe" in got
        if name == "b64info" and not IS_SPINWARD:
            return  # no JSON reply could hold these bytes
        person = server.api("presence", channel="room:manual")["presence"][reply["client"]]
        assert person["user"] == "42"
        if name == "info":
            assert person["conn_info"] == {"name": "Ada Lovelace"}
        elif name == "b64info":
            assert person["conn_info"] == '\0\ufffd"\n', "bytes that are no JSON become a string"
        else:
            assert "conn_info" not in person


def test_the_chapter_has_its_blocks():
    assert {"simplest", "simplest-pyjwt1", "exp", "info", "b64info", "anonymous", "backend"} <= set(PYTHON)


@pytest.mark.parametrize("name", sorted(set(PYTHON) - OLD_ONLY))
def test_with_the_newest_pyjwt(server, name):
    version, token, was_bytes = run(sys.executable, PYTHON[name])
    assert version.startswith("2.") and not was_bytes
    judge(server, name, token)


@pytest.mark.parametrize("name", sorted(PYTHON))
def test_with_pyjwt_1_7(server, old_python, name):
    version, token, was_bytes = run(old_python, PYTHON[name])
    assert version == "1.7.1"
    assert was_bytes is (name not in OLD_ONLY), "without .decode() it gives bytes"
    judge(server, name, token)


@pytest.mark.parametrize("name", sorted(CONFIG))
def test_configurations(name):
    if name in ("old-config", "rotation-list", "labels-config") and not IS_SPINWARD:
        pytest.skip("a name of version 2, or an option of our own")
    _, token, _ = run(sys.executable, PYTHON["simplest"])
    with Server(json.loads(CONFIG[name])) as running:
        raw, first = login(running, token)
        raw.close()
        assert isinstance(first, dict) and "connect" in first, first
        with Raw(running.port) as visitor:
            visitor.send_json({"id": 1, "connect": {}})
            got = visitor.next()
        if name == "anonymous-config":
            assert "connect" in got
        else:
            assert got == ("close", 3501, "bad request")
        if name in ("rotation", "rotation-list"):
            _, newer, _ = run(sys.executable, PYTHON["simplest"].replace('"secret"', '"a new secret"'))
            raw, first = login(running, newer)
            raw.close()
            assert "connect" in first


def test_a_subscription_token():
    chapter = (MANUAL / "subscription-tokens.md").read_text(encoding="utf-8")
    settings = json.loads(re.search(r"<!-- server: private -->\n```json\n(.*?)```", chapter, re.DOTALL)[1])
    code = blocks("python", "subscription-tokens.md")["channel"]
    _, token, _ = run(sys.executable, code)
    key = settings["client"]["token"]["hmac_secret_key"]
    with Server(settings) as running:
        raw, first = login(running, jwt.encode({"sub": "42"}, key, algorithm="HS256"))
        with raw:
            assert "connect" in first
            raw.send_json({"id": 2, "subscribe": {"channel": "orders:7"}})
            assert raw.next()["error"]["code"] == 103
            raw.send_json({"id": 3, "subscribe": {"channel": "orders:7", "token": token}})
            reply = raw.next()["subscribe"]
            assert reply["expires"] is True and 290 <= reply["ttl"] <= 300
            raw.send_json({"id": 4, "subscribe": {"channel": "orders:8", "token": token}})
            assert raw.next() == ("close", 3500, "invalid token")
