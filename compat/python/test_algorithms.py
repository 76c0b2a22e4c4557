"""Every algorithm both ways: what PyJWT signs logs in, what Spinward signs PyJWT verifies, and what is not right is refused."""
import json
import subprocess

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from server import BIN, IS_SPINWARD, Server, config
from wire import Raw, b64u, jwt

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="EdDSA keys, key lists and private keys for gentoken are Spinward's")

INVALID = ("close", 3500, "invalid token")
HMAC = ["HS256", "HS384", "HS512"]
RSA = ["RS256", "RS384", "RS512"]
EC = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
ALL = [*HMAC, *RSA, *EC, "EdDSA"]


def private_pem(key, form=PrivateFormat.PKCS8):
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def make(alg):
    """A new private key for an algorithm, or a secret."""
    if alg in HMAC:
        return "a secret of the tests that is long enough for each of the three digests, which is 64 bytes"
    if alg in RSA:
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if alg == "EdDSA" else ec.generate_private_key(EC[alg]())


@pytest.fixture(scope="module")
def keys():
    """By algorithm; the three of RSA share one, and those of HMAC."""
    found = {alg: make(alg) for alg in ["HS256", "RS256", *EC, "EdDSA"]}
    return {alg: found["HS256" if alg in HMAC else "RS256" if alg in RSA else alg] for alg in ALL}


@pytest.fixture(scope="module")
def server(keys):
    kinds = {"HS256": "hmac", "RS256": "rsa", **dict.fromkeys(EC, "ecdsa"), "EdDSA": "ed25519"}
    listed = [
        {"type": kind, "key": keys[alg] if kind == "hmac" else public_pem(keys[alg])} for alg, kind in kinds.items()
    ]
    with Server(config({"token": {"keys": listed}})) as running:
        yield running


def connect(server, token):
    with Raw(server.port) as raw:
        raw.send_json({"id": 1, "connect": {"token": token}})
        return raw.next()


def subscribe(server, token, channel, keys):
    with Raw(server.port) as raw:
        raw.send_json({"id": 1, "connect": {"token": pyjwt.encode({"sub": "42"}, keys["HS256"], "HS256")}})
        assert "connect" in raw.next()
        raw.send_json({"id": 2, "subscribe": {"channel": channel, "token": token}})
        return raw.next()


def spinward(file, *arguments):
    return subprocess.run([BIN, "-c", str(file), *arguments], capture_output=True, text=True, timeout=60)


def flipped(token, at, bit=0):
    """The token with one bit of its signature changed."""
    text, _, signature = token.rpartition(".")
    raw = bytearray(pyjwt.utils.base64url_decode(signature))
    raw[at] ^= 1 << bit
    return f"{text}.{b64u(bytes(raw))}"


def renamed(token, alg):
    """The token with another algorithm in its header, the signature as it was."""
    _, rest = token.split(".", 1)
    return f"{b64u(json.dumps({'alg': alg, 'typ': 'JWT'}).encode())}.{rest}"


@pytest.mark.parametrize("alg", ALL)
def test_what_pyjwt_signs_logs_in_and_nothing_near_it(server, keys, alg):
    token = pyjwt.encode({"sub": "42", "exp": 4102444800}, keys[alg], alg)
    reply = connect(server, token)
    assert reply["connect"]["expires"] is True, reply
    checked = spinward(server.file, "checktoken", token)
    assert (checked.returncode, checked.stdout.splitlines()[0]) == (0, 'valid token for user "42"'), checked

    for at in (0, 7, -1):
        for bit in (0, 7):
            assert connect(server, flipped(token, at, bit)) == INVALID, (at, bit)
    assert connect(server, token.rpartition(".")[0] + ".") == INVALID
    other = "another secret" + keys[alg] if alg in HMAC else make(alg)
    stranger = pyjwt.encode({"sub": "42"}, other, alg)
    assert connect(server, stranger) == INVALID
    checked = spinward(server.file, "checktoken", stranger)
    assert checked.returncode == 3 and "signature_mismatch" in checked.stdout
    for name in [*(name for name in ALL if name != alg), "PS256", "ES256K", "none", alg.lower()]:
        assert connect(server, renamed(token, name)) == INVALID, name


@pytest.mark.parametrize("alg", [*RSA, *EC, "EdDSA"])
@pytest.mark.parametrize("confused", HMAC)
def test_a_public_key_is_no_secret(server, keys, alg, confused):
    """The text of a public key is known to everyone, and signs for no one."""
    pem = public_pem(keys[alg])
    for secret in (pem, pem.strip(), pem.replace("\n", "\r\n"), "".join(pem.splitlines()[1:-1])):
        assert connect(server, jwt({"sub": "42"}, key=secret, alg=confused)) == INVALID


@pytest.mark.parametrize("alg", ALL)
def test_what_spinward_signs_pyjwt_verifies(server, keys, alg, tmp_path):
    if alg in HMAC:
        # It signs with the main secret of its configuration.
        file = tmp_path / "config.json"
        file.write_text(json.dumps({"client": {"token": {"hmac_secret_key": keys[alg]}}}))
        with_key, verifier = [], keys[alg]
    else:
        file = server.file
        (tmp_path / "key.pem").write_text(private_pem(keys[alg]))
        with_key, verifier = ["--private-key", str(tmp_path / "key.pem")], keys[alg].public_key()
    made = spinward(file, "gentoken", "--quiet", "--user", "42", "--alg", alg, *with_key)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert pyjwt.decode(token, verifier, algorithms=[alg])["sub"] == "42"
    assert "connect" in connect(server, token)
    with pytest.raises(pyjwt.InvalidSignatureError):
        pyjwt.decode(flipped(token, 3), verifier, algorithms=[alg])

    channel = "$room:42"
    made = spinward(file, "gensubtoken", "-q", "-u", "42", "-s", channel, "--alg", alg, *with_key)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    claims = pyjwt.decode(token, verifier, algorithms=[alg])
    assert (claims["sub"], claims["channel"]) == ("42", channel)
    assert "subscribe" in subscribe(server, token, channel, keys)
    assert subscribe(server, flipped(token, 3), channel, keys)["error"]["code"] == 103


@pytest.mark.parametrize("alg", ALL)
def test_subscription_tokens_of_pyjwt(server, keys, alg):
    channel = "$room:x"
    token = pyjwt.encode({"sub": "42", "channel": channel}, keys[alg], alg)
    assert "subscribe" in subscribe(server, token, channel, keys)
    assert subscribe(server, flipped(token, -1), channel, keys)["error"]["code"] == 103
    confused = "HS256" if alg not in HMAC else "RS256"
    assert subscribe(server, renamed(token, confused), channel, keys)["error"]["code"] == 103


@pytest.mark.parametrize("alg", ["RS256", "ES256", "ES384", "ES512"])
def test_private_keys_of_the_older_form(server, keys, alg, tmp_path):
    file = tmp_path / "key.pem"
    file.write_text(private_pem(keys[alg], PrivateFormat.TraditionalOpenSSL))
    made = spinward(server.file, "gentoken", "--user", "42", "--private-key", str(file))
    assert made.returncode == 0 and made.stderr.startswith(alg), made.stderr
    assert pyjwt.decode(made.stdout.strip(), keys[alg].public_key(), algorithms=[alg])["sub"] == "42"


def test_a_key_does_not_sign_what_it_is_not_for(server, keys, tmp_path):
    file = tmp_path / "key.pem"
    file.write_text(private_pem(keys["ES256"]))
    for alg, code in (("ES384", 1), ("RS256", 1), ("HS256", 1), ("none", 2)):
        made = spinward(server.file, "gentoken", "--private-key", str(file), "--alg", alg)
        assert made.returncode == code and "--alg" in made.stderr and not made.stdout, made
    file.write_text(public_pem(keys["ES256"]))
    made = spinward(server.file, "gentoken", "--private-key", str(file))
    assert made.returncode == 1 and "--private-key" in made.stderr and not made.stdout, made
