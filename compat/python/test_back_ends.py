"""The programs of the manual's chapter on backends, as they stand but for the ports, behind a server of its configuration."""
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import httpx
import jwt
import pytest
from centrifuge import Client, ClientEventHandler, SubscriptionEventHandler
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from server import API_KEY, BIN, IS_SPINWARD, ROOT, Server, free_port

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="the chapter is Spinward's")

CHAPTER = (ROOT / "docs/manual/back-ends.md").read_text(encoding="utf-8")
BLOCKS = {
    (mark, name): text
    for mark, name, text in re.findall(r"<!-- (\w+): (\S+) -->\n```\w+\n(.*?)```", CHAPTER, re.DOTALL)
}
FILES = {"node": "backend.mjs", "go": "backend.go", "php": "backend.php"}
TOKEN_KEY = "key-of-tokens-4b1d07c2a95e8f3617d0"
KEYS = {"SPINWARD_VAR_TOKEN_KEY": TOKEN_KEY, "SPINWARD_VAR_API_KEY": API_KEY}
ORIGIN = "http://localhost:3000"
# The first run of Go compiles its standard library.
PATIENCE = 240


def cookie(user):
    return {"Cookie": f"theme=dark; session=session-of-{user}; lang=en"}


def with_ports(text, backend, spinward):
    """The block with other ports in place of 3000 and 8000."""
    return re.sub(r"\b(3000|8000)\b", lambda found: str(backend if found[0] == "3000" else spinward), text)


class Backend:
    """A program of the chapter, started by its command."""

    def __init__(self, language, spinward, port=None, keys=KEYS):
        self.port, self.spinward = port or free_port(), spinward
        self._folder = tempfile.TemporaryDirectory(prefix="spinward-back-end-")
        self.folder = Path(self._folder.name)
        program = with_ports(BLOCKS["backend", language], self.port, spinward)
        (self.folder / FILES[language]).write_text(program, encoding="utf-8")
        env = {name: value for name, value in os.environ.items() if not name.startswith(("SPINWARD_", "CENTRIFUGO_", "PHP_"))}
        self._log = (self.folder / "log").open("w+", encoding="utf-8")
        # A process group of its own: `go run` starts the program that it has built.
        self._process = subprocess.Popen(
            ["sh", "-euc", with_ports(BLOCKS["command", language], self.port, spinward)],
            cwd=self.folder, env={**env, **keys}, stdout=self._log, stderr=self._log, start_new_session=True)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    def wait(self):
        """Waits until it listens."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None and time.monotonic() < deadline, f"it does not listen:\n{self.log()}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return self
            time.sleep(0.05)

    def ended(self):
        """The exit code of a program that ends by itself."""
        return self._process.wait(PATIENCE)

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def send(self, text, user=None, channel="team:blue"):
        return self.http.post("/message", json={"channel": channel, "text": text}, headers=cookie(user) if user else {})

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(10)
        self.http.close()
        self._log.close()
        self._folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


@pytest.fixture(scope="module", params=list(FILES))
def language(request):
    if shutil.which(request.param) is None:
        pytest.skip(f"the program {request.param} is not installed")
    return request.param


@pytest.fixture(scope="module")
def backend(language):
    with Backend(language, spinward=free_port()) as backend:
        yield backend.wait()


@pytest.fixture(scope="module")
def server(backend):
    settings = json.loads(BLOCKS["config", "back-ends"].replace("127.0.0.1:3000", f"127.0.0.1:{backend.port}"))
    with Server(settings, port=backend.spinward, env={name.removeprefix("SPINWARD_"): value for name, value in KEYS.items()}) as server:
        yield server


class Login(ClientEventHandler):
    """A client of the SDK, and how its connection ended."""

    def __init__(self, server, headers=None, token=""):
        self.ends = asyncio.get_running_loop().create_future()
        self.client = Client(server.ws, self, token=token, headers={"Origin": ORIGIN, **(headers or {})}, proxy=None)

    async def on_disconnected(self, ctx):
        if not self.ends.done():
            self.ends.set_result((ctx.code, ctx.reason))

    async def __aenter__(self):
        await self.client.connect()
        await self.client.ready(5)
        return self

    async def __aexit__(self, *_):
        await self.client.disconnect()


def users(server):
    return {one["user"] for one in server.api("connections")["connections"].values()}


def publications(client, channel):
    """The subscription, and a queue of the data published to it, or of the code and reason of its end."""
    got = asyncio.Queue()

    class Heard(SubscriptionEventHandler):
        async def on_publication(self, ctx):
            got.put_nowait(ctx.pub.data)

        async def on_unsubscribed(self, ctx):
            got.put_nowait((ctx.code, ctx.reason))

    return client.new_subscription(channel, Heard()), got


def test_every_block_is_run():
    assert set(BLOCKS) == {("config", "back-ends"), ("command", "try")} | {(mark, name) for mark in ("backend", "command") for name in FILES}
    assert len(re.findall(r"^```\w+$", CHAPTER, re.MULTILINE)) == len(BLOCKS), "a block without a mark"


@pytest.mark.skipif(shutil.which("gofmt") is None, reason="the program gofmt is not installed")
def test_the_go_program_is_formatted():
    formatted = subprocess.run(["gofmt"], input=BLOCKS["backend", "go"], capture_output=True, text=True, timeout=30)
    assert formatted.stdout == BLOCKS["backend", "go"], formatted.stderr


def test_the_cookie_logs_in(server):
    async def run():
        for user in ("ann", "bob"):
            async with Login(server, cookie(user)):
                assert users(server) == {user}

    asyncio.run(run())


@pytest.mark.parametrize("headers", [{}, {"Cookie": "session=session-of-eve"}, {"Cookie": "xsession=session-of-ann"}, {"Cookie": "session[]=x"}])
def test_without_a_session_the_login_is_refused(server, headers):
    async def run():
        login = Login(server, headers)
        await login.client.connect()
        assert await asyncio.wait_for(login.ends, 5) == (4501, "log in first")

    asyncio.run(run())


def test_a_page_of_another_site_cannot_use_the_cookie(server):
    with pytest.raises(InvalidStatus) as refusal:
        connect(server.ws, origin="http://evil.example", additional_headers=cookie("ann"), proxy=None)
    assert refusal.value.response.status_code == 403


def test_members_subscribe_and_others_do_not(server):
    async def run():
        for user, channel, allowed in (("ann", "team:blue", True), ("ann", "team:red", False), ("bob", "team:blue", False)):
            async with Login(server, cookie(user)) as login:
                sub, got = publications(login.client, channel)
                await sub.subscribe()
                if allowed:
                    await sub.ready(5)
                    assert got.empty()
                    continue
                assert await asyncio.wait_for(got.get(), 5) == (403, "members only")
                assert server.api("channels")["channels"] == {}

    asyncio.run(run())


def test_messages_of_members_arrive_and_no_others(server, backend):
    async def run():
        async with Login(server, cookie("ann")) as login:
            sub, got = publications(login.client, "team:blue")
            await sub.subscribe()
            await sub.ready(5)
            text = 'gr\u00fc\u00df "dich" \\ \U0001f600</script>'
            for user in ("bob", "eve", None):
                assert (await asyncio.to_thread(backend.send, "no", user)).status_code == 403
            answer = await asyncio.to_thread(backend.send, text, "ann")
            assert answer.status_code == 200, backend.log()
            assert (await asyncio.to_thread(backend.send, "second", "ann")).status_code == 200
            assert await asyncio.wait_for(got.get(), 5) == {"user": "ann", "text": text}
            assert await asyncio.wait_for(got.get(), 5) == {"user": "ann", "text": "second"}
            assert got.empty()

    asyncio.run(run())


def test_a_publish_that_fails_is_not_a_success(server, language):
    wrong = {**KEYS, "SPINWARD_VAR_API_KEY": "wrong"}
    for spinward, keys in ((server.port, wrong), (free_port(), KEYS)):
        with Backend(language, spinward, keys=keys) as backend:
            answer = backend.wait().send("hello", "ann")
            assert (answer.status_code, answer.text.strip()) == (502, "not published")
            assert "wrong" not in backend.log(), "the key is in the log"


def test_a_token_logs_in(server, backend):
    answer = backend.http.get("/token", headers=cookie("ann"))
    assert answer.status_code == 200
    assert jwt.get_unverified_header(answer.text) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(answer.text, TOKEN_KEY, algorithms=["HS256"])
    assert set(claims) == {"sub", "exp"} and claims["sub"] == "ann" and 290 <= claims["exp"] - time.time() <= 300

    async def run():
        # Without a cookie, and with that of another: the token decides.
        for headers in ({}, cookie("bob")):
            async with Login(server, headers, token=answer.text) as login:
                assert users(server) == {"ann"}
                sub, _ = publications(login.client, "team:blue")
                await sub.subscribe()
                await sub.ready(5)

    asyncio.run(run())
    for headers in ({}, cookie("eve")):
        refused = backend.http.get("/token", headers=headers)
        assert (refused.status_code, refused.text.strip()) == (403, "log in first")


BODIES = [b"", b"{", b"null", b"[]", b"5", b'"x"', b"\xff", b'{"channel": {"a": 1}}', b'{"channel": ["team:blue"], "user": ["ann"]}', b'{"channel": "__proto__", "user": "__proto__"}',
          b'{"channel": "team:blue", "user": "constructor", "text": ' + b"[" * 2000, b'{"text": "' + b"x" * (1 << 20) + b'"}']


def test_bad_requests_are_refused_and_the_next_one_is_served(server, backend):
    for body in BODIES:
        asked = backend.http.post("/subscribe", content=body)
        assert asked.status_code == 400 or (asked.status_code == 200 and asked.json()["error"]["code"] == 403), (body[:60], asked.text)
        sent = backend.http.post("/message", content=body, headers=cookie("ann"))
        assert sent.status_code in (400, 403), (body[:60], sent.text)
    for method, path in (("GET", "/"), ("GET", "/connect"), ("GET", "/message"), ("POST", "/token"), ("POST", "/constructor"), ("GET", "/backend.php"), ("GET", "/log")):
        asked = backend.http.request(method, path, headers=cookie("ann"))
        assert asked.status_code in (404, 405), (method, path)
    for headers in ({"Cookie": "session[]=x"}, {"Cookie": "session=__proto__"}, {"Cookie": "session=%00;;=;session"}):
        assert "result" not in backend.http.post("/connect", content=b"{}", headers=headers).json()
        assert backend.http.get("/token", headers=headers).status_code == 403
    assert backend.send("hello", "ann").status_code == 200


def test_without_keys_nothing_is_signed(language):
    for missing in KEYS:
        keys = {name: value for name, value in KEYS.items() if name != missing}
        with Backend(language, free_port(), keys=keys) as backend:
            if language != "php":
                assert backend.ended() != 0
            elif missing == "SPINWARD_VAR_TOKEN_KEY":
                answer = backend.wait().http.get("/token", headers=cookie("ann"))
                assert (answer.status_code, answer.text) == (500, "")
            else:
                answer = backend.wait().send("hello", "ann")
                assert (answer.status_code, answer.text) == (500, "")
            assert f"set {missing}" in backend.log() or "set SPINWARD_VAR_TOKEN_KEY and SPINWARD_VAR_API_KEY" in backend.log()


def test_the_commands_to_try_it(server, backend):
    script = with_ports(BLOCKS["command", "try"], backend.port, server.port).replace("spinward explain", f"{BIN} explain -c {server.file}")
    ran = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=30, env={**os.environ, **KEYS}, cwd=backend.folder)
    assert ran.returncode == 0, ran.stderr
    assert re.match(r"published\s*members only", ran.stdout), ran.stdout
    assert f":{backend.port}/subscribe" in ran.stdout, ran.stdout
