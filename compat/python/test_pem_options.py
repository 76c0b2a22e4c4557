"""Every option that takes PEM takes it as text, as base64 and as the path of a file, wherever it is in the reference."""
import base64
import json
import re
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

import datetime

from server import BIN, IS_SPINWARD

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="asks for what Spinward alone has")

# Options that take PEM, and are texts because Centrifugo has them so.
TEXTS = ("rsa_public_key", "ecdsa_public_key", "ed25519_public_key")
# TLS of the server's own ports, where `server_ca_pem` means nothing. All other TLS is that of connections to others, where
# `client_ca_pem` means nothing.
OWN = ("http_server.tls.", "http_server.internal_tls.", "uni_grpc.tls.", "grpc_api.tls.")


def run(*arguments):
    return subprocess.run([BIN, *map(str, arguments)], capture_output=True, text=True, timeout=20, env={})


def reference():
    """Full name to (type, choices) of every option that is built; sections in lists have `[]` behind their name."""
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| [^|]* \| (.*) \|$", run("configdoc").stdout, re.MULTILINE)
    return {name: (kind, re.findall(r"`(\w+)`", about.partition("One of")[2])) for name, kind, about in rows if "*Planned.*" not in about}


OPTIONS = reference() if IS_SPINWARD else {}
EVERY = sorted(name for name, (kind, _) in OPTIONS.items() if kind == "PEM" or name.rsplit(".", 1)[1:] and name.rsplit(".", 1)[1] in TEXTS)


# Streams of proxies go over gRPC alone.
UNUSED = "channel.proxy.subscribe_stream.http."
PEMS = [name for name in EVERY if not name.endswith(".server_ca_pem" if name.startswith(OWN) else ".client_ca_pem") and not name.startswith(UNUSED)]


@pytest.fixture(scope="module")
def material():
    def public(key):
        return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
                   .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=9))
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
                   .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return {"key_pem": private, "rsa_public_key": public(rsa.generate_private_key(65537, 2048)), "ecdsa_public_key": public(key),
            "ed25519_public_key": public(ed25519.Ed25519PrivateKey.generate()), None: certificate.public_bytes(serialization.Encoding.PEM).decode()}


def using(option, value, material):
    """A configuration that uses an option: every section around it is on, and of the type that has it."""
    *sections, last = option.split(".")
    inner = {last: value}
    if option.startswith(OWN) or last in ("cert_pem", "key_pem"):
        for name in ("cert_pem", "key_pem"):
            inner.setdefault(name, material.get(name, material[None]))
    below = last
    for depth in range(len(sections), 0, -1):
        path, listed = ".".join(sections[:depth]), sections[depth - 1].endswith("[]")
        for name, given in {
            "enabled": True, "type": below, "endpoint": f"{'grpc' if '.grpc.' in option else 'https'}://127.0.0.1:1", "dsn": "postgres://user@127.0.0.1:1/none",
            "name": "it" if listed else None, "issuer": "it" if listed else None,
            "jwks_public_endpoint": "https://127.0.0.1:1/keys" if last == "jwks_ca_pem" else None,
            "sentinel_address": ["127.0.0.1:1"] if below == "sentinel_tls" else None,
            "sentinel_master_name": "it" if below == "sentinel_tls" else None,
            # What consumers need.
            "outbox_table_name": "outbox", "url": "nats://127.0.0.1:1", "stream_name": "it", "subjects": ["it"],
            "durable_consumer_name": "it", "streams": ["it"], "consumer_group": "it",
            "brokers": ["127.0.0.1:1"], "topics": ["it"],
        }.items():
            known = OPTIONS.get(f"{path}.{name}")
            if known and given is not None and (name != "type" or given in known[1]):
                inner.setdefault(name, given)
        below = sections[depth - 1].removesuffix("[]")
        inner = {below: [inner] if listed else inner}
    # A proxy that nobody uses is not made.
    if option.startswith("channel.proxy."):
        user = {f"{sections[2]}_proxy_enabled": True}
        if sections[2] == "cache_empty":
            user |= {"history_size": 1, "history_ttl": "60s", "force_recovery_mode": "cache"}
        inner["channel"]["without_namespace"] = user
    elif option.startswith("proxies[]."):
        inner["channel"] = {"without_namespace": {"publish_proxy_enabled": True, "publish_proxy_name": "it"}}
    elif option.startswith("rpc.proxy."):
        inner["rpc"]["without_namespace"] = {"proxy_enabled": True}
    return inner


def test_there_are_as_many_as_in_the_catalogue():
    assert len(PEMS) > 100 and {"http_server.tls.cert_pem", "client.token.jwks_ca_pem", "engine.redis.tls.server_ca_pem"} <= set(PEMS), PEMS


@pytest.mark.parametrize("option", PEMS)
def test_a_pem_option_takes_text_base64_and_a_path(option, material, tmp_path):
    last = option.rsplit(".", 1)[1]
    pem = material.get(last, material[None])
    (tmp_path / "it.pem").write_text(pem)
    config = tmp_path / "config.json"

    def checked(value):
        config.write_text(json.dumps(using(option, value, material)))
        return run("checkconfig", "-c", config)

    for given in (pem, base64.encodebytes(pem.encode()).decode(), str(tmp_path / "it.pem")):
        done = checked(given)
        if "this server was built without" in done.stderr:
            pytest.skip("a feature that this build does not have")
        assert done.returncode == 0, (given, done.stderr)
    # It is read at all: another text is a fault of this option.
    done = checked("/no/such/file.pem")
    named = option.replace("[]", "[it]")
    assert done.returncode == 1 and (named in done.stderr or option.replace("[]", "") in done.stderr), done.stderr
