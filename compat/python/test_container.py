"""The root file system of the container, made by the steps of its recipe, and the static binary run in it: as nobody,
without capabilities, without /dev and /proc, on a root that nothing can be written to.

Needs root, and a static binary: `cargo xtask dist --target x86_64-unknown-linux-musl`, or SPINWARD_STATIC.
"""
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from server import IS_SPINWARD, ROOT, free_port

RECIPE = ROOT / "packaging/container/Containerfile"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BUILT = sorted(TARGET.glob(f"dist/spinward-*-{platform.machine()}-unknown-linux-musl/spinward"))
STATIC = os.environ.get("SPINWARD_STATIC") or (str(BUILT[-1]) if BUILT else None)
KEYS = {"SPINWARD_VAR_TOKEN_KEY": "0123456789abcdef" * 4, "SPINWARD_VAR_API_KEY": "fedcba9876543210" * 4}

pytestmark = [
    pytest.mark.skipif(not IS_SPINWARD, reason="the container is Spinward's"),
    pytest.mark.skipif(not STATIC, reason="no static binary: cargo xtask dist --target x86_64-unknown-linux-musl"),
    pytest.mark.skipif(os.getuid() != 0 or not shutil.which("unshare"), reason="chroot and mounts need root on Linux"),
]


def instructions():
    """The instructions of the recipe: word and rest, continued lines joined."""
    text = RECIPE.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def last(word):
    return [rest for name, rest in instructions() if name == word][-1]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The files that the recipe copies into the image."""
    here = tmp_path_factory.mktemp("container")
    (steps,) = [rest for word, rest in instructions() if word == "RUN" and rest.startswith("mkdir -p /root-fs")]
    shutil.copy(STATIC, here / "binary")
    steps = steps.replace("/root-fs", str(here / "root-fs")).replace("mv /spinward", f"mv {here}/binary")
    subprocess.run(["sh", "-euc", steps], check=True, timeout=60)
    assert last("COPY") == "--from=build /root-fs /"
    root = here / "root-fs"
    # As the mounted files of a container: readable, and not its own.
    settings = {
        "production": True,
        "client": {"token": {"hmac_secret_key": "${SPINWARD_VAR_TOKEN_KEY}"}, "allowed_origins": ["https://a.example"]},
        "http_api": {"key": "${SPINWARD_VAR_API_KEY}"},
        "shutdown": {"timeout": "5s"},
        "http_server": {"address": "127.0.0.1", "port": str(free_port()), "internal_port": str(free_port())},
    }
    (root / "etc/spinward/config.json").write_text(json.dumps(settings))
    # The folders above keep others out, and the user of the container is one of them.
    for folder in [here, *here.parents][:3]:
        folder.chmod(0o755)
    return root


def inside(root, *command, state=False):
    """A command line that runs another in the container."""
    mounts = f"mount --bind '{root}' '{root}' && mount -o remount,bind,ro '{root}'"
    if state:
        mounts += f" && mount -t tmpfs -o uid=65532,gid=65532,mode=700 tmpfs '{root}/var/lib/spinward'"
    user, group = last("USER").split(":")
    enter = f"chroot --userspec={user}:{group} --groups='' '{root}'"
    words = " ".join(f"'{word}'" for word in command)
    return ["unshare", "--mount", "sh", "-euc", f"{mounts} && exec {enter} {words}"]


def run(root, *command, **more):
    variables = {**KEYS, **dict([last("ENV").split("=")])}
    return subprocess.run(inside(root, *command, **more), env=variables, capture_output=True, text=True, timeout=30)


def test_the_binary_needs_no_library(root):
    assert (root / "usr/bin/spinward").stat().st_mode & 0o777 == 0o755
    headers = subprocess.run(["readelf", "--program-headers", "--dynamic", STATIC], capture_output=True, text=True, timeout=30)
    assert headers.returncode == 0 and "LOAD" in headers.stdout
    assert "INTERP" not in headers.stdout and "NEEDED" not in headers.stdout
    assert sorted(path.name for path in root.iterdir()) == ["etc", "usr", "var"]
    assert run(root, "/usr/bin/spinward", "version").stdout.startswith("spinward ")


def test_it_serves_and_is_healthy_on_a_root_that_is_read_only(root):
    settings = json.loads((root / "etc/spinward/config.json").read_text())["http_server"]
    internal = f"http://127.0.0.1:{settings['internal_port']}"
    health = json.loads(last("HEALTHCHECK").split("CMD ")[1])
    before = run(root, *health)
    assert before.returncode == 1 and "refused" in before.stderr.lower(), before.stderr

    command = json.loads(last("ENTRYPOINT")) + json.loads(last("CMD"))
    variables = {**KEYS, **dict([last("ENV").split("=")])}
    with subprocess.Popen(inside(root, *command), env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            deadline = time.monotonic() + 15
            while run(root, *health).returncode != 0:
                assert server.poll() is None and time.monotonic() < deadline, server.stdout.read() if server.poll() is not None else "not healthy"
                time.sleep(0.1)
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert re.search(r"^Uid:\s+65532\s+65532\s", status, re.M) and re.search(r"^CapEff:\s+0+$", status, re.M), status
            answer = httpx.post(f"{internal}/api/publish", headers={"X-API-Key": KEYS["SPINWARD_VAR_API_KEY"]}, json={"channel": "a", "data": {}})
            assert answer.status_code == 200 and "result" in answer.json(), answer.text
            assert httpx.get(f"{internal}/readyz").status_code == 200
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0, server.stdout.read()
    assert run(root, *health).returncode == 1


def test_nothing_can_be_written_but_the_folder_of_state(root):
    refused = run(root, "/usr/bin/spinward", "genconfig", "-c", "/var/lib/spinward/config.json")
    assert refused.returncode == 1 and "Read-only file system" in refused.stderr, refused.stderr
    written = run(root, "/usr/bin/spinward", "genconfig", "-c", "/var/lib/spinward/config.json", state=True)
    assert written.returncode == 0, written.stderr
