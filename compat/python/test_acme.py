"""Certificates by ACME, from Pebble: the ACME server that Let's Encrypt tests clients with."""
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import time

import httpx
import pytest

from authority import Authority
from server import Server, config, free_port

PEBBLE = os.environ.get("PEBBLE") or shutil.which("pebble")
CHALLTESTSRV = os.environ.get("CHALLTESTSRV") or shutil.which("pebble-challtestsrv")

pytestmark = [
    pytest.mark.usefixtures("only_spinward"),
    pytest.mark.skipif(not (PEBBLE and CHALLTESTSRV), reason="needs Pebble: PEBBLE and CHALLTESTSRV name its binaries"),
]

HOST = "rt.example.com"


class Pebble:
    """An ACME server that looks for its proofs at the ports given, whatever the host."""

    def __init__(self, folder, tls_port, http_port, validity=7_776_000, external=None):
        authority = Authority(folder, "pebble")
        certificate, key = authority.write(*authority.issue(), stem="pebble")
        self.authority, self.port, self.management = authority.file, free_port(), free_port()
        names = free_port()
        settings = {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(certificate), "privateKey": str(key), "httpPort": http_port, "tlsPort": tls_port,
            "ocspResponderURL": "", "externalAccountBindingRequired": external is not None,
            "externalAccountMACKeys": external or {}, "retryAfter": {"authz": 1, "order": 1},
            "profiles": {"default": {"description": "", "validityPeriod": validity}},
        }
        file = folder / "pebble.json"
        file.write_text(json.dumps({"pebble": settings}))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._processes = [
            subprocess.Popen([
                CHALLTESTSRV, "-dnsserver", f"127.0.0.1:{names}", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "",
                "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", f"127.0.0.1:{free_port()}",
            ], **quiet),
            subprocess.Popen(
                [PEBBLE, "-config", str(file), "-dnsserver", f"127.0.0.1:{names}"],
                # A part of the nonces is refused, as happens with real servers.
                env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5"}, **quiet,
            ),
        ]
        self.directory = f"https://127.0.0.1:{self.port}/dir"
        until(lambda: self._answers())

    def _answers(self):
        try:
            return httpx.get(self.directory, verify=ssl.create_default_context(cafile=str(self.authority))).status_code == 200
        except httpx.TransportError:
            return False

    def root(self):
        """The certificate that all others descend from."""
        url = f"https://127.0.0.1:{self.management}/roots/0"
        return httpx.get(url, verify=ssl.create_default_context(cafile=str(self.authority))).text

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.kill()
            process.wait(5)


def until(condition, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def settings(acme, **autocert):
    return {
        **config(),
        "prometheus": {"enabled": True},
        "http_server": {"internal_port": str(free_port()), "tls_external": True, "tls_autocert": {
            "enabled": True, "host_whitelist": [HOST], "email": "ops@example.com",
            "directory_url": acme.directory, "server_ca_pem": str(acme.authority), **autocert,
        }},
    }


def certificate(port, root, name=HOST):
    """The certificate that clients meet; None while they get none that they trust."""
    context = ssl.create_default_context(cadata=root)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            with context.wrap_socket(raw, server_hostname=name) as stream:
                return stream.getpeercert()
    except (ssl.SSLError, ConnectionError):
        return None


def orders(settings, result):
    page = httpx.get(f"http://127.0.0.1:{settings['http_server']['internal_port']}/metrics").text
    name = f'spinward_acme_orders_total{{result="{result}"}} '
    return int(next(line for line in page.splitlines() if line.startswith(name)).rsplit(" ", 1)[1])


@pytest.mark.parametrize("http", [False, True])
def test_a_certificate_is_issued_and_kept(tmp_path, http):
    port, http_port = free_port(), free_port()
    with Pebble(tmp_path, port, http_port) as acme:
        cache = tmp_path / "cache"
        chosen = settings(acme, cache_dir=str(cache), http=http, http_addr=f"127.0.0.1:{http_port}")
        with Server(chosen, port=port) as running:
            until(lambda: certificate(port, acme.root()))
            assert orders(chosen, "success") == 1
            assert running.await_log("ACME: certificate issued")
            if http:
                answer = httpx.get(f"http://127.0.0.1:{http_port}/a?b=c", headers={"Host": HOST})
                assert (answer.status_code, answer.headers["location"]) == (302, f"https://{HOST}/a?b=c")
                lost = httpx.get(f"http://127.0.0.1:{http_port}/.well-known/acme-challenge/none")
                assert lost.status_code == 404
        assert stat.S_IMODE(cache.stat().st_mode) == 0o700
        names = sorted(file.name for file in cache.iterdir())
        assert names == ["acme_account.json", HOST]
        assert {stat.S_IMODE(file.stat().st_mode) for file in cache.iterdir()} == {0o600}
        # The next start has it at once, and asks for none.
        with Server(chosen, port=port):
            assert certificate(port, acme.root())
            assert orders(chosen, "success") == 0


def test_certificates_are_renewed(tmp_path):
    port = free_port()
    with Pebble(tmp_path, port, free_port(), validity=12) as acme:
        chosen = settings(acme, cache_dir=str(tmp_path / "cache"))
        with Server(chosen, port=port):
            until(lambda: certificate(port, acme.root()))
            first = certificate(port, acme.root())["serialNumber"]
            until(lambda: (certificate(port, acme.root()) or {"serialNumber": first})["serialNumber"] != first)
            assert orders(chosen, "success") >= 2


def test_hosts_that_clients_name(tmp_path):
    port = free_port()
    with Pebble(tmp_path, port, free_port()) as acme:
        chosen = settings(acme, cache_dir=str(tmp_path / "cache"), host_whitelist=[], server_name="default.example.com")
        with Server(chosen, port=port):
            until(lambda: certificate(port, acme.root(), "other.example.com"))
            until(lambda: certificate(port, acme.root(), "default.example.com"))


def test_an_external_account(tmp_path):
    port = free_port()
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    with Pebble(tmp_path, port, free_port(), external={"kid-1": key}) as acme:
        with Server(settings(acme, cache_dir=str(tmp_path / "cache"), eab_key_id="kid-1", eab_hmac_key=key), port=port):
            until(lambda: certificate(port, acme.root()))


def test_a_failure_stops_nothing(tmp_path):
    """The ACME server cannot reach this one: the reason is in the log, and the internal port answers."""
    port = free_port()
    with Pebble(tmp_path, free_port(), free_port()) as acme:
        chosen = settings(acme, cache_dir=str(tmp_path / "cache"))
        with Server(chosen, port=port) as running:
            assert running.await_log("ACME: no certificate.*retry_in\":60", timeout=30), running.log()
            assert orders(chosen, "failure") == 1
    nowhere = settings(acme, directory_url=f"https://127.0.0.1:{free_port()}/dir")
    with Server(nowhere, port=port) as running:
        assert running.await_log("no connection to the ACME server", timeout=30)
        assert running.alive()
