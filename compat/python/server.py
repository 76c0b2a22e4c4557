"""Starts the server under test, any compatible one, and waits until it answers."""
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[2]
BIN = os.environ.get("SPINWARD_BIN", str(ROOT / "target/release/spinward"))
SECRET = "secret"
API_KEY = "api-key"


def is_spinward():
    """True for Spinward itself; a few tests ask for what only it has."""
    out = subprocess.run([BIN, "version"], capture_output=True, text=True, timeout=20, check=True)
    return "spinward" in (out.stdout + out.stderr).lower()


IS_SPINWARD = is_spinward()


def config(client=None, without_namespace=None, namespaces=()):
    """A configuration with one namespace for each thing that the scenarios need."""
    opened = {"allow_subscribe_for_client": True, "allow_publish_for_client": True}
    history = {"history_size": 100, "history_ttl": "300s", "allow_history_for_client": True}
    presence = {"presence": True, "join_leave": True, "force_push_join_leave": True, "allow_presence_for_client": True}
    return {
        "log": {"level": "debug"},
        "health": {"enabled": True},
        "http_api": {"key": API_KEY},
        "client": {
            "token": {"hmac_secret_key": SECRET},
            "allowed_origins": ["*"],
            "expired_close_delay": "1s",
            "presence_update_interval": "1s",
            **(client or {}),
        },
        "channel": {
            "without_namespace": without_namespace or {**opened, **presence},
            "namespaces": [
                {"name": "room", **opened, **presence},
                {"name": "recov", **opened, **history, "force_recovery": True},
                {"name": "short", **opened, **history, "history_size": 3, "force_recovery": True},
                {"name": "tags", **opened, **history, "allow_tags_filter": True},
                {"name": "delta", **opened, **history, "force_recovery": True, "allowed_delta_types": ["fossil"], "delta_publish": True},
                {"name": "closed"},
                *namespaces,
            ],
        },
    }


# Ports that the system gives to nobody by itself: those of outgoing connections and of listeners on port 0 begin above
# (net.ipv4.ip_local_port_range), so that such a one does not take a port before its server does.
_PORTS = range(10_000, 32_768)
# Processes side by side begin far from each other.
_next_port = itertools.count(os.getpid() * 613)


def free_port():
    """A port that nothing listens on, given out once by this process."""
    for number in itertools.islice(_next_port, len(_PORTS)):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", _PORTS[number % len(_PORTS)]))
            return probe.getsockname()[1]
    raise RuntimeError("no port is free")


class Server:
    """A running server. Use as a context manager."""

    def __init__(self, settings, port=None, env=None, api_port=None):
        """`api_port`: the internal port, where the configuration has one."""
        self.port = port or free_port()
        self.http = f"http://127.0.0.1:{self.port}"
        self.ws = f"ws://127.0.0.1:{self.port}/connection/websocket"
        self._dir = tempfile.TemporaryDirectory(prefix="spinward-compat-")
        self.file = Path(self._dir.name) / "config.json"
        self.file.write_text(json.dumps(settings))
        self._process = subprocess.Popen(
            [BIN, "-c", str(self.file)],
            env=_environment({"HTTP_SERVER_PORT": str(self.port), "HTTP_SERVER_ADDRESS": "127.0.0.1", **(env or {})}),
            cwd=self._dir.name,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self.pid = self._process.pid
        self._lines = []
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        api = f"http://127.0.0.1:{api_port or self.port}"
        self._api = httpx.Client(base_url=api, headers={"X-API-Key": API_KEY}, timeout=10)
        self._wait_until_ready()

    def _collect(self):
        for line in self._process.stdout:
            self._lines.append(line)

    def _wait_until_ready(self):
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                # Any answer will do: a configuration without `health` gives 404.
                self._api.get("/health")
                return
            except httpx.TransportError:
                time.sleep(0.03)
        self.stop()
        raise RuntimeError(f"the server did not start:\n{self.log()}")

    def log(self, since=0):
        return "".join(self._lines[since:])

    def mark(self):
        """The present end of the log, for `log(since)`."""
        return len(self._lines)

    def await_log(self, pattern, since=0, timeout=15.0):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if re.search(pattern, self.log(since), re.IGNORECASE):
                return True
            time.sleep(0.02)
        return False

    def api(self, method, **params):
        """Calls a method of the server API and gives its result."""
        answer = self._api.post(f"/api/{method}", json=params)
        assert answer.status_code == 200, f"{method}: HTTP {answer.status_code}"
        reply = answer.json()
        assert "error" not in reply, f"{method}: {reply}"
        return reply.get("result", reply)

    def alive(self):
        return self._process.poll() is None

    def terminate(self):
        """Tells it to stop, and does not wait."""
        self._process.send_signal(signal.SIGTERM)

    def hang_up(self):
        """Has the configuration file reloaded."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
        self._reader.join(2)
        self._api.close()
        self._dir.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def _environment(extra):
    """The environment without a setting that could reach the server from outside."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SPINWARD_", "CENTRIFUGO_"))}
    for name, value in extra.items():
        env[f"SPINWARD_{name}"] = value
        env[f"CENTRIFUGO_{name}"] = value
    return env
