"""The blocks of the README, run one after another from an empty folder, and the page that they make."""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from server import BIN, IS_SPINWARD, ROOT, free_port
from wire import Raw

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="the README is Spinward's")

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- run -->\n```sh\n(.*?)```", TEXT, re.DOTALL)


def test_the_server_path_works_as_written(tmp_path):
    assert len(BLOCKS) == 3
    # The binary on the path, and free ports in the place of those that the README names.
    folder, binaries = tmp_path / "empty", tmp_path / "bin"
    folder.mkdir()
    binaries.mkdir()
    (binaries / "spinward").symlink_to(Path(BIN).resolve())
    port, pages = free_port(), free_port()
    script = "\n".join(BLOCKS).replace("localhost:8000", f"localhost:{port}").replace("localhost:3000", f"localhost:{pages}")
    assert script.count("spinward serve &") == 1 and script.count("\nspinward &") == 1
    script = script.replace("spinward serve &", f"spinward serve --port {pages} &")
    # A reader takes longer than this from one block to the next.
    wait = f"for i in $(seq 200); do curl -s -o /dev/null http://localhost:{port}/ && break; sleep 0.05; done\n"
    script = script.replace("KEY=$SPINWARD_VAR_API_KEY", wait + "echo ready\nread -r go\nKEY=$SPINWARD_VAR_API_KEY")
    env = {name: text for name, text in os.environ.items() if not name.startswith(("SPINWARD_", "CENTRIFUGO_"))}
    env |= {"PATH": f"{binaries}:{env['PATH']}", "SPINWARD_HTTP_SERVER_PORT": str(port)}
    log = open(tmp_path / "log", "w+")
    shell = subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=log, start_new_session=True)
    try:
        assert shell.stdout.readline() == "ready\n", (tmp_path / "log").read_text()
        page = httpx.get(f"http://localhost:{pages}/").text
        token = re.search(r'const token = "([^"]+)"', page)[1]
        url = re.search(r'new Centrifuge\("ws://localhost:(\d+)/connection/websocket"', page)
        channel = re.search(r'newSubscription\("([^"]+)"\)', page)[1]
        with Raw(int(url[1]), origin=f"http://localhost:{pages}") as raw:
            raw.send_json({"id": 1, "connect": {"token": token}})
            assert "connect" in raw.next()
            raw.send_json({"id": 2, "subscribe": {"channel": channel}})
            assert "subscribe" in raw.next()
            shell.stdin.write("\n")
            shell.stdin.flush()
            pushed = raw.next()
            assert pushed["push"]["pub"]["data"] == {"text": "hello"}, pushed
        assert shell.wait(10) == 0
        # The configuration is complete: nothing is open or unknown in it.
        said = (tmp_path / "log").read_text()
        assert "config.json: valid" in said and "INSECURE" not in said and "unknown" not in said, said
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        time.sleep(0.2)
        log.close()
