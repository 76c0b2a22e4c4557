"""Every command, and every way to call it wrong: exit code, stream and text.

The rules: 0 did it, 1 could not, 2 was called wrong, 3 a client would be refused, 4 valid but not built yet. Standard
output has what was asked for and nothing else; everything about it is on standard error.
"""
import json
import os
import re
import signal
import socket
import subprocess
import time

import httpx
import pytest

from server import BIN, IS_SPINWARD, Server, config, free_port
from wire import jwt

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="asks for what Spinward alone has")

KEY = "keep-this-long-and-random-5f2c9a71e0b84d36"
VALID = {"client": {"token": {"hmac_secret_key": KEY}}, "http_api": {"key": KEY},
         "channel": {"namespaces": [{"name": "open", "allow_subscribe_for_client": True}]}}

# What each command needs to run at all, and how it takes a configuration: it reads one, writes one, or has none.
COMMANDS = {
    "dev": ("reads", None),
    "genconfig": ("writes", ["genconfig"]),
    "checkconfig": ("reads", ["checkconfig"]),
    "configdoc": (None, ["configdoc"]),
    "defaultconfig": ("writes", ["defaultconfig"]),
    "defaultenv": (None, ["defaultenv"]),
    "gentoken": ("reads", ["gentoken"]),
    "checktoken": ("reads", ["checktoken", "TOKEN"]),
    "gensubtoken": ("reads", ["gensubtoken", "-s", "open:a"]),
    "checksubtoken": ("reads", ["checksubtoken", "SUBTOKEN"]),
    "explain": ("reads", ["explain", "-u", "42", "-s", "open:a"]),
    "healthcheck": ("reads", None),
    "serve": (None, None),
    "completions": (None, ["completions", "bash"]),
    "man": (None, ["man"]),
    "version": (None, ["version"]),
}
NEEDS = {"checktoken": ["x"], "gensubtoken": ["-s", "x"], "checksubtoken": ["x"], "completions": ["bash"], "explain": ["-s", "x"]}
READS = [name for name, (takes, _) in COMMANDS.items() if takes == "reads"]
WRITES = [name for name, (takes, _) in COMMANDS.items() if takes == "writes"]
NEITHER = [name for name, (takes, _) in COMMANDS.items() if takes is None]


def called(name):
    return [name, *NEEDS.get(name, [])]


def token(**claims):
    return jwt({"sub": "42", **claims}, key=KEY)


@pytest.fixture
def place(tmp_path):
    """An empty directory with files for every kind of mistake beside it."""
    for name, text in {
        "valid.json": json.dumps(VALID),
        "broken.json": '{"client": ',
        "twice.json": '{"log": {}, "client": {"token": {}, "token": {}}, "log": {}}',
        "twice.yaml": "log: {}\nlog: {}\n",
        "twice.toml": "[log]\nlevel = 'info'\nlevel = 'info'\n",
        "wrong.json": json.dumps({
            "http_server": {"port": "x"}, "client": {"insecure": True, "pong_timeout": "1h"}, "grpc_apy": {}, "http_api": {"key": KEY},
            "channel": {"namespaces": [{"name": "x"}]}}),
        "keys.json": json.dumps({
            "client": {"token": {"rsa_public_key": "no key"}, "subscription_token": {"enabled": True, "jwks_public_endpoint": "no URL"}},
            "http_server": {"port": "x", "internal_tls": {"enabled": True, "cert_pem": "none", "key_pem": "none"}}}),
        "planned.json": json.dumps({**VALID, "debug": {"enabled": True}, "shared_poll": {"hmac_secret_key": KEY}}),
        "unknown.json": json.dumps({**VALID, "clients": {}}),
        "eras.json": json.dumps({"secret": KEY, "anonymous": True, "client": {}}),
        "old.json": json.dumps({"v3_use_offset": True, "secret": KEY}),
        "none.ini": "",
        "key.pem": "none",
    }.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.json").mkdir()
    empty = tmp_path / "empty"
    empty.mkdir()
    return empty


def run(place, *arguments, env=None, **more):
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("SPINWARD_", "CENTRIFUGO_"))}
    done = subprocess.run([BIN, *map(str, arguments)], cwd=place, env={**clean, **(env or {})},
                          capture_output=True, text=True, timeout=30, **more)
    return done.returncode, done.stdout, done.stderr


def check(got, code, out="", err=""):
    """`out` and `err` are patterns; an empty one is an empty stream."""
    for name, pattern, text in [("stdout", out, got[1]), ("stderr", err, got[2])]:
        assert re.search(pattern, text, re.DOTALL) if pattern else text == "", f"{name} is {text!r}, not {pattern!r}; code {got[0]}"
    assert got[0] == code, got


def test_the_table_has_every_command(place):
    code, out, err = run(place, "--help")
    listed = re.findall(r"^  ([a-z]+) ", out.split("Commands:")[1].split("Options:")[0], re.MULTILINE)
    assert (code, err) == (0, "") and sorted([*COMMANDS, "help"]) == sorted(listed)


# The ways that are the same for every command.

@pytest.mark.parametrize("name", COMMANDS)
def test_arguments_that_nobody_knows(place, name):
    check(run(place, *called(name), "--nonsense"), 2, err="^error: unexpected argument '--nonsense' found")
    check(run(place, *called(name), "more", "and more"), 2, err="^error: unexpected argument")
    # An option of the server behind the command, where it is not looked for.
    check(run(place, *called(name), "--log.level", "none"), 2, err="^error: `--log.level` goes before the command: `spinward --log.level")
    # What is missing.
    if name in NEEDS and name != "explain":
        check(run(place, name), 2, err="^error: the following required arguments were not provided")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_what_the_file_is_for(place, name):
    code, out, err = run(place, name, "--help")
    assert (code, err) == (0, "") and "Usage: spinward" in out
    told = re.search(r"-c, --config <FILE>\s+(.+)", out)
    assert (told is not None) == (COMMANDS[name][0] is not None), out
    if told:
        words = {"writes": "File to write"}.get(COMMANDS[name][0], "onfiguration file")
        assert words in told[1], told[1]


@pytest.mark.parametrize("name", READS)
def test_a_configuration_that_is_named_must_be_there_and_be_read(place, name):
    for arguments in (["-c", "../missing.json", *called(name)], [*called(name), "--config", "../missing.json"]):
        check(run(place, *arguments), 1, err=r"^error: \.\./missing\.json does not exist")
    check(run(place, "-c", "../valid.json", *called(name), "-c", "../broken.json"), 2, err="^error: two configuration files are given")
    check(run(place, *called(name), "-c"), 2, err="^error: a value is required for '--config <FILE>'")
    for file, words in [
        ("broken.json", r"not valid JSON: line 1, column 11: the text ends too early"),
        ("twice.json", r"not valid JSON: `client\.token`, `log` are set twice: keep one of each"),
        ("twice.yaml", r"not valid YAML: line 2, column 1: `log` is set twice"),
        ("twice.toml", r"not valid TOML: line 3, column 1: `level` is set twice"),
        ("none.ini", r"the extension must be \.json, \.yaml, \.yml or \.toml"),
        ("folder.json", r"Is a directory"),
    ]:
        check(run(place, *called(name), "-c", f"../{file}"), 1, err=rf"^error: \.\./{re.escape(file)}: .*{words}")
    # Mixed versions: what belongs to which, and a way on that keeps all of it.
    check(run(place, *called(name), "-c", "../eras.json"), 1,
          err="`client` .*`secret` .*`client.token.hmac_secret_key`.*To keep all that it says, take `client` out, let `spinward checkconfig --show-secrets` print the rest")
    # All wrong options at once, and the warnings beside them.
    code, out, err = run(place, *called(name), "-c", "../wrong.json")
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[0].startswith("unknown: grpc_apy: no option has this name, ignored; did you mean `grpc_api`"), err
    assert lines[1].startswith("INSECURE: client.insecure: anyone may"), err
    assert lines[2] == "error: the configuration is not valid:", err
    assert {line.split(":")[0].strip() for line in lines[3:]} == {"http_server.port", "client.pong_timeout", "channel.namespaces[x].name"}, err
    assert "INSECURE: INSECURE" not in err and "unknown option" not in err


@pytest.mark.parametrize("name", [*WRITES, *NEITHER])
def test_what_has_no_effect_is_refused(place, name):
    check(run(place, "--log.level", "debug", *called(name)), 2, err=f"^error: --log.level has no effect on `{name}`\n$")
    if name in NEITHER:
        check(run(place, "-c", "../valid.json", *called(name)), 2, err=f"^error: --config has no effect on `{name}`\n$")
        check(run(place, *called(name), "-c", "../valid.json"), 2, err="^error: unexpected argument '-c' found")


@pytest.mark.parametrize("name", [name for name, (takes, how) in COMMANDS.items() if how and takes == "reads"])
def test_options_before_a_command_take_effect(place, name):
    """The file has a key that no token is signed with; the option before the command puts the right one over it."""
    arguments = [{"TOKEN": token(), "SUBTOKEN": token(channel="open:a")}.get(part, part) for part in COMMANDS[name][1]]
    got = run(place, "-c", "../valid.json", "--engine.type", "loud", *arguments)
    check(got, 1, err=r'^error: the configuration is not valid:\n  engine\.type \(flag\): "loud" is not one of')
    assert run(place, "-c", "../valid.json", "--log.level", "debug", *arguments)[0] == 0


@pytest.mark.parametrize("name", WRITES)
def test_files_are_written_once(place, name):
    check(run(place, name), 0, err=r"^config\.json is written\n$")
    assert (place / "config.json").stat().st_mode & 0o777 == 0o600
    check(run(place, name), 1, err=r"^error: config\.json exists already: name another file with --config\n$")
    check(run(place, "-c", "other.toml", name), 0, err=r"^other\.toml is written\n$")
    check(run(place, name, "-c", "no/such/folder.yaml"), 1, err=r"^error: no/such/folder\.yaml: No such file")
    check(run(place, name, "-c", "config"), 1, err="^error: config: the extension must be")


# What each has of its own.

ROWS = {
    "an unknown command": (["nonsense"], 2, "", "^error: unrecognized subcommand 'nonsense'"),
    "an old flag": (["--port", "1"], 2, "", "^error: `--port` is a flag of older versions, since v6 it is `--http_server.port`"),
    "a value apart from its switch": (["--health.enabled", "true"], 2, "", "^error: `--health.enabled` takes its value behind a `=`"),
    "a server without its file": (["-c", "../missing.json"], 1, "", r"^error: \.\./missing\.json does not exist"),
    "a server with wrong options": (["-c", "../wrong.json"], 1, "", "INSECURE: client.insecure.*error: the configuration is not valid"),
    "a server on a wrong port": (["--http_server.port", "x"], 1, "", r"http_server\.port \(flag\): this is not a whole number"),

    "checkconfig, valid": (["checkconfig", "-c", "../valid.json"], 0, "", r"^\.\./valid\.json: valid\n$"),
    "checkconfig, no file": (["checkconfig"], 1, "", r"^error: config\.json does not exist"),
    "checkconfig, not built": (["checkconfig", "-c", "../planned.json"], 4, "",
                               r"planned: debug: set, but not built yet.*\.\./planned\.json: valid, but 2 options you use are not built yet: debug, shared_poll\n$"),
    "checkconfig, unknown": (["checkconfig", "-c", "../unknown.json"], 0, "", "unknown: clients: no option has this name, ignored; did you mean `client`.*: valid\n$"),
    "checkconfig, unknown and strict": (["checkconfig", "--strict", "-c", "../unknown.json"], 1, "", "error: --strict: no option has these names: clients\n$"),
    "checkconfig, keys and certificates": (["checkconfig", "-c", "../keys.json"], 1, "",
                                           "http_server.port.*client.token.rsa_public_key.*client.subscription_token.jwks_public_endpoint.*http_server.internal_tls.cert_pem"),
    "checkconfig, old": (["checkconfig", "-c", "../old.json"], 0, r'^\{\n.*"hmac_secret_key": "\*\*\*"', "In v6 form this file is:\nSecrets are hidden.*: valid\n$"),

    "configdoc, unknown section": (["configdoc", "-s", "clients"], 2, "", "^error: --section: there is no section `clients`\n$"),
    "configdoc, a port without a page": (["configdoc", "-p", "6061"], 2, "", "^error: the following required arguments were not provided:\n  --serve"),
    "configdoc, a page in Markdown": (["configdoc", "--serve", "-m"], 2, "", "^error: the argument '--serve' cannot be used with '--markdown'"),
    "configdoc, an option": (["configdoc", "-s", "shards"], 2, "", "^error: --section: `shards` is an option, not a section\n$"),
    "configdoc, not built": (["configdoc", "-s", "debug"], 0, r"^## `debug` \(planned\)\n\n\*Not built yet: accepted, without effect\.\*.*\*Planned\.\*\s*\|\n", ""),
    "defaultconfig, missing base": (["defaultconfig", "-b", "../missing.json"], 1, "", r"^error: \.\./missing\.json does not exist"),
    "defaultconfig, dry": (["defaultconfig", "-d"], 0, r'^\{\n.*"port": 8000', ""),
    "defaultenv": (["defaultenv"], 0, r"^SPINWARD_.*SPINWARD_HTTP_SERVER_PORT=8000\n", ""),
    "defaultenv, base left out": (["defaultenv", "--base-non-zero-only"], 2, "", "^error: the following required arguments were not provided:\n  --base <FILE>"),
    "defaultenv, missing base": (["defaultenv", "-b", "../missing.json"], 1, "", r"^error: \.\./missing\.json does not exist"),
    "defaultenv, of a base": (["defaultenv", "-b", "../valid.json", "--base-non-zero-only"], 0, f'^SPINWARD_CHANNEL_NAMESPACES=.*SPINWARD_HTTP_API_KEY="{KEY}"', ""),

    "gentoken": (["gentoken", "-c", "../valid.json", "-u", "42"], 0, r"^[\w-]+\.[\w-]+\.[\w-]+\n$", '^HS256 connection token for user "42", expires in 168h0m0s:\n$'),
    "gentoken, quiet": (["gentoken", "-q", "-c", "../valid.json"], 0, r"^[\w-]+\.[\w-]+\.[\w-]+\n$", ""),
    "gentoken, no key": (["gentoken"], 1, "", r"^note: config\.json: does not exist: using the environment and defaults\nerror: client\.token\.hmac_secret_key is not set"),
    "gentoken, wrong time": (["gentoken", "-t", "1h"], 2, "", "^error: invalid value '1h' for '--ttl <TTL>'"),
    "gentoken, unknown algorithm": (["gentoken", "-c", "../valid.json", "--alg", "none"], 2, "", r"^error: invalid value 'none' for '--alg <NAME>'\s+\[possible values: HS256"),
    "gentoken, algorithm of another key": (["gentoken", "-c", "../valid.json", "--alg", "RS256"], 1, "", "^error: --alg: the key does not sign RS256, but HS256"),
    "gentoken, no private key": (["gentoken", "-k", "missing.pem"], 1, "", "error: --private-key: this is neither PEM, nor PEM in base64, nor the path of a file"),
    "gentoken, wrong private key": (["gentoken", "-k", "../key.pem"], 1, "", "error: --private-key: the file holds no PEM"),
    "gensubtoken, empty channel": (["gensubtoken", "-c", "../valid.json", "-s", ""], 1, "", "^error: --channel must not be empty"),

    "checktoken": (["checktoken", "-c", "../valid.json", token(info={"name": "Ann"})], 0,
                   r'^valid token for user "42"\n  expires: never\n  algorithm: HS256\n  claims: \{\n.*"name": "Ann"', ""),
    "checktoken, no token": (["checktoken", "-c", "../valid.json", "garbage"], 3, "^malformed:token: .*to change: .*on connect a client gets: disconnect 3500", ""),
    "checktoken, expired": (["checktoken", "-c", "../valid.json", token(exp=1)], 3, r'^expired.*on connect a client gets: error 109.*claims: \{\n.*"exp": 1', ""),
    "checktoken, another key": (["checktoken", "-c", "../valid.json", jwt({"sub": "42"}, key="another")], 3, r'^signature_mismatch.*claims: \{.*"sub": "42"', ""),
    "checktoken, another user": (["checktoken", "-c", "../valid.json", "-u", "43", token()], 3, "^user_mismatch", ""),
    "checktoken, a channel": (["checktoken", "-c", "../valid.json", "-s", "closed:x", token()], 3, "unknown channel.*102|102", ""),
    "checktoken, keys unavailable": (["checktoken", "-c", "../jwks.json", "eyJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.e30.AAAA"], 1, "", "^error: keys_unavailable.*error 100"),
    "checksubtoken": (["checksubtoken", "-c", "../valid.json", token(channel="open:a")], 0, '^valid subscription token for user "42" and channel "open:a".*claims: ', ""),
    "checksubtoken, another channel": (["checksubtoken", "-c", "../valid.json", "-s", "open:b", token(channel="open:a")], 3, "^channel_mismatch", ""),
    "checksubtoken, a connection token": (["checksubtoken", "-c", "../valid.json", token()], 3, "^connection_token_used_to_subscribe", ""),

    "explain, allowed": (["explain", "-c", "../valid.json", "-u", "42", "-s", "open:a"], 0, "allow_subscribe_for_client", ""),
    "explain, refused": (["explain", "-c", "../valid.json", "-u", "42", "-s", "a"], 3, "103", ""),
    "explain, in JSON": (["explain", "-c", "../valid.json", "--json", "-u", "42", "-s", "a"], 3, r'^\{.*"code":103.*\}\n$', ""),
    "explain, no channel": (["explain", "-c", "../valid.json"], 2, "", "^error: --channel is missing: subscribe is about one\n$"),
    "explain, unknown action": (["explain", "-a", "dance", "-s", "a"], 2, "", r"^error: invalid value 'dance' for '--action <ACTION>'\s+\[possible values: "),
    "explain, no header": (["explain", "-c", "../valid.json", "-a", "connect", "--header", "garbage"], 2, "", "^error: --header: a header is NAME: VALUE\n$"),

    "dev, another address": (["--http_server.address", "0.0.0.0", "dev"], 2, "", "^error: --http_server.address has no effect on `dev`, which serves one port on this machine alone\n$"),
    "dev, an option without a file": (["--log.level", "debug", "dev"], 2, "", "^error: --log.level has no effect on `dev` without a configuration of your own"),
    "dev, two ports": (["-p", "9001", "dev", "-p", "9002"], 2, "", "^error: two ports are given"),
    "dev, no port": (["dev", "-p", "x"], 2, "", "^error: invalid value 'x' for '--port <PORT>'"),

    "healthcheck, no endpoint": (["healthcheck", "-c", "../valid.json"], 1, "", r"^error: health\.enabled is not set"),
    "healthcheck, no server": (["-p", str(free_port()), "--health.enabled", "healthcheck"], 1, "", r"error: http://127\.0\.0\.1:\d+/health: "),
    "serve, no directory": (["serve", "-d", "../missing"], 1, "", r"^error: --dir: \.\./missing: No such file"),
    "serve, a file": (["serve", "-d", "../valid.json"], 1, "", r"^error: --dir: \.\./valid\.json: Not a directory"),
    "serve, an empty address": (["serve", "-a", ""], 2, "", "^error: --address must not be empty: `::` means all addresses\n$"),
    "serve, no port": (["serve", "-p", "99999"], 2, "", "^error: invalid value '99999' for '--port <PORT>'"),
    "serve, another's address": (["serve", "-a", "192.0.2.1"], 1, "", r"^error: --address, --port: cannot listen on 192\.0\.2\.1:3000: "),
    "completions, unknown shell": (["completions", "tcsh"], 2, "", r"^error: invalid value 'tcsh' for '<SHELL>'\s+\[possible values: bash"),
    "man, a file": (["man", "-d", "../valid.json"], 1, "", r"^error: \.\./valid\.json: File exists"),
    "man": (["man"], 0, r"^\.ie .*\.TH spinward 1", ""),
    "version": (["version"], 0, r"^spinward \d+\.\d+\.\d+\n$", ""),
    "version, as an option": (["--version"], 0, r"^spinward \d+\.\d+\.\d+\n$", ""),
}


@pytest.mark.parametrize("row", ROWS)
def test_each_way_to_call_a_command(place, row):
    jwks = {"client": {"token": {"jwks_public_endpoint": "http://127.0.0.1:1/keys"}}}
    (place.parent / "jwks.json").write_text(json.dumps(jwks))
    arguments, code, out, err = ROWS[row]
    check(run(place, *arguments), code, out, err)


def test_every_command_has_a_row_of_its_own():
    rows = {row.split(",")[0] for row in ROWS}
    assert set(COMMANDS) - rows <= set(WRITES) | {"gensubtoken"} - rows, set(COMMANDS) - rows


PRINTS = [["version"], ["configdoc"], ["defaultconfig", "-d"], ["defaultenv"], ["completions", "bash"], ["man"],
          ["gentoken", "-c", "../valid.json"], ["checktoken", "-c", "../valid.json", token()], ["checkconfig", "-c", "../old.json"],
          ["explain", "-c", "../valid.json", "-u", "42", "-s", "open:a"]]


@pytest.mark.parametrize("arguments", PRINTS, ids=lambda arguments: arguments[0])
def test_output_that_cannot_be_written_is_a_failure_and_a_reader_that_leaves_is_not(place, arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([BIN, *arguments], cwd=place, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == 1 and re.search(r"^error: standard output: No space left on device", done.stderr, re.MULTILINE), done
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([BIN, *arguments], cwd=place, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=30)
    finally:
        os.close(writer)
    assert done.returncode == 0 and "error" not in done.stderr, done


def test_dev_goes_on_without_a_terminal_to_print_to(place):
    home = {"HOME": str(place), "XDG_STATE_HOME": str(place / "state")}
    port = free_port()
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen([BIN, "dev", "-p", str(port)], cwd=place, stdout=writer, stderr=subprocess.PIPE, text=True, env={**os.environ, **home})
    os.close(writer)
    try:
        lines_until(process.stderr, "serving")
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
    finally:
        assert stopped(process)[0] == 0


def test_arguments_that_are_no_text_are_told(place):
    for arguments in ([b"explain", b"-s", b"a\xff"], [b"gentoken", b"-u", b"\xff"], [b"\xff"], [b"--log.level", b"\xff"]):
        done = subprocess.run([BIN.encode(), *arguments], cwd=place, capture_output=True, timeout=30)
        assert done.returncode == 2 and done.stderr.startswith(b"error: ") and b"panicked" not in done.stderr, done
    # A path needs to be none.
    done = subprocess.run([BIN.encode(), b"checkconfig", b"-c", b"\xff.json"], cwd=place, capture_output=True, timeout=30)
    assert done.returncode == 1 and b"does not exist" in done.stderr, done


def test_a_private_key_is_a_file_text_or_base64(place):
    pem = subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519"], capture_output=True, text=True, check=True).stdout
    (place / "private.pem").write_text(pem)
    encoded = subprocess.run(["base64"], input=pem, capture_output=True, text=True, check=True).stdout
    for given in ("private.pem", pem, encoded):
        check(run(place, "gentoken", f"--private-key={given}"), 0, out=r"^eyJ", err="EdDSA connection token")


def test_completions_are_scripts_of_their_shells(place):
    for shell, first in [("bash", "_spinward()"), ("zsh", "#compdef spinward"), ("fish", "complete -c spinward"), ("powershell", "Register-ArgumentCompleter")]:
        code, out, err = run(place, "completions", shell)
        assert (code, err) == (0, "") and first in out and "checksubtoken" in out, shell
    script = run(place, "completions", "bash")[1] + "\nCOMP_WORDS=(spinward gent); COMP_CWORD=1; _spinward spinward gent spinward; echo \"${COMPREPLY[@]}\"\n"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() == "gentoken", done


def test_there_is_a_page_for_each_command(place):
    check(run(place, "man", "--dir", "pages"), 0, err="^pages are written to pages\n$")
    pages = {file.name for file in (place / "pages").iterdir()}
    assert pages >= {"spinward.1", *(f"spinward-{name}.1" for name in COMMANDS)}, pages


def start(*arguments, env=None, **more):
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("SPINWARD_", "CENTRIFUGO_"))}
    return subprocess.Popen([BIN, *map(str, arguments)], env={**clean, **(env or {})}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)


def lines_until(stream, pattern, limit=200):
    lines = []
    for line in stream:
        lines.append(line)
        if re.search(pattern, line) or len(lines) == limit:
            break
    assert lines and re.search(pattern, lines[-1]), "".join(lines)
    return "".join(lines)


def stopped(process):
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=15)
    return process.returncode, out, err


def test_serve_serves_files(place):
    (place / "index.html").write_text("<p>hello")
    process = start("serve", "--port", "0", cwd=place)
    try:
        url = re.search(r"serving \. on (http://127\.0\.0\.1:\d+/)", lines_until(process.stderr, "serving"))[1]
        with httpx.Client(base_url=url) as client:
            page = client.get("/")
            assert (page.status_code, page.text, page.headers["content-type"]) == (200, "<p>hello", "text/html; charset=utf-8")
            assert client.head("/index.html").headers["content-length"] == "8"
            assert client.get("/missing").status_code == 404 and client.post("/").status_code == 405
            assert client.get("/%2e%2e/valid.json").status_code == 404
        port = url.rsplit(":", 1)[1].strip("/")
        check(run(place, "serve", "-p", port), 1, err=rf"^error: --address, --port: cannot listen on 127\.0\.0\.1:{port}: Address already in use")
    finally:
        code, out, _ = stopped(process)
    assert (code, out) == (0, "")


def test_the_reference_is_a_page():
    process = start("configdoc", "--serve", "--port", "0")
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+/", lines_until(process.stderr, "serving"))[0]
        page = httpx.get(url)
        assert page.headers["content-type"] == "text/html; charset=utf-8" and "client.token.hmac_secret_key</code>" in page.text
        assert httpx.get(url + "other").status_code == 404
    finally:
        assert stopped(process)[0] == 0


def test_flags_before_dev_take_effect_and_nothing_empty_is_printed(place):
    # Its keys are kept in a folder of the user.
    home = {"HOME": str(place), "XDG_STATE_HOME": str(place / "state")}
    port = free_port()
    process = start("-p", port, "dev", cwd=place, env=home)
    try:
        assert f"http://127.0.0.1:{port}/" in lines_until(process.stdout, "console")
    finally:
        stopped(process)
    jwks = {"client": {"token": {"jwks_public_endpoint": "http://127.0.0.1:1/keys"}}}
    for name, settings, last in [("bare.json", {}, "A page that listens"), ("jwks.json", jwks, "No token is made here")]:
        (place / name).write_text(json.dumps(settings))
        process = start("-c", name, "-p", port, "dev", cwd=place, env=home)
        try:
            told = lines_until(process.stdout, last)
            assert f"http://127.0.0.1:{port}/" in told
            assert not re.search(r"token\s*\n|X-API-Key: *'", told), told
            if name == "bare.json":
                assert "client.token.hmac_secret_key" in told and "http_api.key" in told, told
        finally:
            stopped(process)


def test_the_log_says_what_is_served_where_and_what_is_open():
    settings = config()
    settings["client"]["insecure"] = True
    internal = free_port()
    settings |= {"http_server": {"internal_port": str(internal), "internal_address": "127.0.0.1"}, "prometheus": {"enabled": True}, "sse": {"enabled": True}}
    settings["log"]["level"] = "info"
    with Server(settings, api_port=internal) as server:
        assert server.await_log('"message":"serving"')
        lines = [json.loads(line) for line in server.log().splitlines()]
        assert all(line["level"] in ("info", "warn", "error") and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["time"]) for line in lines), lines
        served = {line["message"]: line for line in lines}
        assert served["serving"]["address"] == f"127.0.0.1:{server.port}" and "/connection/websocket, /connection/sse" in served["serving"]["paths"], served
        assert "/metrics" not in served["serving"]["paths"]
        inner = served["serving internal endpoints"]
        assert inner["address"] == f"127.0.0.1:{internal}" and all(path in inner["paths"] for path in ("/api/…", "/health", "/metrics")), inner
        assert any(line["level"] == "warn" and line["message"].startswith("INSECURE: client.insecure: ") for line in lines), lines
        # The health check of containers finds the port by itself.
        for ready in ([], ["--ready"]):
            check(run(server.file.parent, "-p", server.port, "-c", server.file, "healthcheck", *ready), 0)


def test_a_supervisor_is_told(tmp_path):
    """`Type=notify` with a watchdog, as systemd talks with a service."""
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.bind(str(tmp_path / "notify"))
    bell.settimeout(10)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(VALID))
    process = start("-c", file, "-a", "127.0.0.1", "-p", free_port(), env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"})
    try:
        told = []

        def until(word):
            end = time.monotonic() + 10
            while time.monotonic() < end:
                told.append(bell.recv(4096).decode())
                if word in told[-1]:
                    return told[-1]
            raise AssertionError(told)

        until("READY=1")
        assert told == ["READY=1"] or told == ["READY=1\n"], told
        begun = time.monotonic()
        for _ in range(3):
            until("WATCHDOG=1")
        assert time.monotonic() - begun < 2, "twice in each interval"
        process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in until("RELOADING=1")
        until("READY=1")
        process.send_signal(signal.SIGTERM)
        until("STOPPING=1")
    finally:
        assert stopped(process)[0] == 0
        bell.close()
