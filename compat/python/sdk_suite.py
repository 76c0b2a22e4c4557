"""Runs centrifuge-python's own tests, as they come in its source distribution, against the server.

    python sdk_suite.py [unittest arguments]

The suite speaks to port 8000 of localhost; nothing else may listen there. Exit code 0: all passed.
"""
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from server import Server

VERSION = "0.7.0"
# What the suite holds; fewer means that something was not collected.
EXPECTED = 185

SUBSCRIBER = {"allow_publish_for_subscriber": True, "allow_presence_for_subscriber": True, "allow_history_for_subscriber": True}
PRESENCE = {"presence": True, "join_leave": True, "force_push_join_leave": True}

# The server that the suite expects.
SETTINGS = {
    "log": {"level": "info"},
    "health": {"enabled": True},
    "client": {
        "token": {"hmac_secret_key": "secret"},
        "subscribe_to_user_personal_channel": {"enabled": True},
    },
    "channel": {
        "without_namespace": {
            **SUBSCRIBER, **PRESENCE,
            "allowed_delta_types": ["fossil"], "delta_publish": True,
            "history_size": 100, "history_ttl": "300s", "force_recovery": True,
        },
        "namespaces": [
            {"name": "smallhistory", **SUBSCRIBER, "allow_presence_for_subscriber": False, "history_size": 2, "history_ttl": "300s", "force_recovery": True},
            {"name": "example", **SUBSCRIBER, **PRESENCE, "history_size": 300, "history_ttl": "300s"},
        ],
    },
}


def unpack(where):
    """The source distribution, through the package client; its tests stay out of the installed package."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "centrifuge-python", "-d", where, f"centrifuge-python=={VERSION}"],
        check=True,
    )
    (archive,) = Path(where).glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(where, filter="data")
    (tree,) = (entry for entry in Path(where).iterdir() if entry.is_dir())
    return tree


def main(arguments):
    with tempfile.TemporaryDirectory(prefix="spinward-sdk-") as where:
        tree = unpack(where)
        with Server(SETTINGS, port=8000):
            run = subprocess.run(
                [sys.executable, "-m", "unittest", *(arguments or ["discover", "-s", "tests", "-t", "."])],
                cwd=tree, stderr=subprocess.PIPE, text=True, timeout=600,
            )
    sys.stderr.write(run.stderr)
    found = re.search(r"^Ran (\d+) tests?", run.stderr, re.MULTILINE)
    ran = int(found.group(1)) if found else 0
    if not arguments and ran < EXPECTED:
        print(f"only {ran} of {EXPECTED} tests ran")
        return 1
    print(f"centrifuge-python {VERSION}: {ran} tests, exit code {run.returncode}")
    return run.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
