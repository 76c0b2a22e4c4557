#!/usr/bin/env python3
"""Starts the servers that the profile "proxy" needs, runs a command, stops them.

    up.py BINARY [--port 9000] [--print LETTER] -- COMMAND…      (in COMMAND, {} is 127.0.0.1:PORT)

Four instances of BINARY (`BINARY --config FILE`), instance i on PORT + i, their backend on PORT + 20 (HTTP) and + 21 (gRPC):
  h  connect and refresh proxies over HTTP, every named proxy, gRPC API with a key, unidirectional transports
  g  connect and refresh proxies over gRPC, gRPC API in transport error mode
  b  connect proxy with binary_encoding and no refresh proxy, anonymous allowed, personal channel, concurrency
  t  no connect proxy: tokens, and a refresh proxy with meta and binary_encoding; insecure off
An instance that does not start is reported; the command runs all the same.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

LETTERS = "hgbt"
EVENTS = ("connect", "refresh", "subscribe", "sub_refresh", "publish", "rpc")
TRANSFORMS = [
    {"status_code": 404, "to_error": {"code": 404, "message": "transformed", "temporary": False}},
    {"status_code": 503, "to_error": {"code": 1503, "message": "try later", "temporary": True}},
    {"status_code": 401, "to_disconnect": {"code": 4501, "reason": "unauthorized by backend"}},
    {"status_code": 404, "to_error": {"code": 405, "message": "second match"}},
    {"status_code": 204, "to_error": {"code": 1204, "message": "no content"}},
    {"status_code": 302, "to_error": {"code": 1302, "message": "moved"}},
    {"status_code": 200, "to_error": {"code": 1200, "message": "never"}},
]
HEADERS = {"http_headers": ["X-Listed", "x-lower", "Cookie", "Authorization", "User-Agent", "X-Static", "X-Both", "Content-Type", "Origin"],
           "emulated_headers": ["X-Emu", "x-both", "X-Emu-Static"], "grpc_metadata": ["x-meta", "x-static", "x-both"]}
STATIC = {"X-Static": "diff-static", "X-Emu-Static": "diff-static", "x-only": "diff-only"}
# kinds of named proxies; every kind exists for subscribe, publish, sub_refresh and rpc, and as namespace of channels and of methods
KINDS = {
    "hj": {},
    "hb": {"binary_encoding": True},
    "hm": {**HEADERS, "include_connection_meta": True, "http": {"static_headers": STATIC}},
    "ht": {"http": {"status_to_code_transforms": TRANSFORMS}},
    "hs": {"timeout": "300ms"},
    "hd": {"dead": True},
    "gj": {},
    "gb": {"binary_encoding": True},
    "gm": {**HEADERS, "include_connection_meta": True,
           "grpc": {"static_metadata": {k.lower(): v for k, v in STATIC.items()}, "credentials_key": "x-cred", "credentials_value": "diff-cred"}},
    "gz": {"grpc": {"compression": True}},
    "gs": {"timeout": "300ms"},
    "gd": {"dead": True},
}
# kinds with TLS, for rpc only: ca = the backend's certificate is known, no = it is not, skip = not checked, name = another server name is expected
TLS = {"ca": {"enabled": True, "server_ca_pem": "{cert}"}, "no": {"enabled": True}, "skip": {"enabled": True, "insecure_skip_verify": True}, "name": {"enabled": True, "server_ca_pem": "{cert}", "server_name": "other.example"}}


def cert():
    """A throw-away certificate for 127.0.0.1; the backend finds it by the environment."""
    if "DIFF_CERT" not in os.environ:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        import datetime, ipaddress
        key, name, day = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "backend")]), datetime.datetime(2025, 1, 1)
        c = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1).not_valid_before(day).not_valid_after(day + datetime.timedelta(36500))
             .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False).add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
        os.environ["DIFF_CERT"] = c.public_bytes(serialization.Encoding.PEM).decode()
        os.environ["DIFF_KEY"] = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return os.environ["DIFF_CERT"]


def config(letter, port):
    """The configuration of one instance."""
    i = LETTERS.index(letter)
    http, grpc = f"http://127.0.0.1:{port + 20}", f"grpc://127.0.0.1:{port + 21}"

    def proxy(kind, path):
        o = dict(KINDS[kind])
        dead = o.pop("dead", False)
        end = (f"http://127.0.0.1:{port + 29}/{path}" if kind[0] == "h" else f"grpc://127.0.0.1:{port + 29}") if dead else f"{http}/{path}" if kind[0] == "h" else grpc
        if kind[0] == "g":
            g = dict(o.get("grpc", {}))
            o["grpc"] = {**g, "static_metadata": {"x-proxy": "diff-" + path.replace("/", "-"), **g.get("static_metadata", {})}}
        return {"endpoint": end, **o}

    c = {
        "log": {"level": "error"}, "usage_stats": {"disabled": True}, "health": {"enabled": True}, "shutdown": {"timeout": "1s"},
        "http_server": {"port": port + i, "address": "127.0.0.1"},
        "http_api": {"key": "k"},
        "client": {
            "allowed_origins": ["*"], "ping_interval": "20s", "pong_timeout": "5s", "stale_close_delay": "5s",
            "presence_update_interval": "1s", "expired_close_delay": "1s", "expired_sub_close_delay": "1s", "channel_limit": 12,
            "token": {"hmac_secret_key": "secret"},
        },
        "channel": {"without_namespace": {}, "namespaces": [
            {"name": "open", "allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True, "allow_publish_for_client": True, "presence": True},
            {"name": "hist", "allow_subscribe_for_client": True, "history_size": 10, "history_ttl": "300s", "force_recovery": True, "allow_history_for_client": True},
        ]},
    }
    ns = c["channel"]["namespaces"]
    if letter in "hg":
        ways = {"h": "h", "g": "g"}[letter]
        kind = {"h": "hm", "g": "gm"}[letter]
        c["client"]["proxy"] = {"connect": {"enabled": True, **proxy(kind, "c/connect"), "timeout": "1500ms"},
                                "refresh": {"enabled": True, **proxy(kind, "c/refresh"), "timeout": "1500ms"}}
        if letter == "h":
            c["client"]["proxy"]["connect"]["http"]["status_to_code_transforms"] = TRANSFORMS
            c["client"]["proxy"]["refresh"]["http"]["status_to_code_transforms"] = TRANSFORMS
        kinds = list(KINDS)
        c["proxies"] = [{"name": f"{e}_{k}", **proxy(k, f"{k}/{e}")} for k in kinds for e in ("subscribe", "publish", "sub_refresh", "rpc")]
        base = {"presence": True, "join_leave": True, "history_size": 10, "history_ttl": "300s", "allow_history_for_subscriber": True,
                "allow_presence_for_subscriber": True}
        for k in kinds:
            sp = {"subscribe_proxy_enabled": True, "subscribe_proxy_name": f"subscribe_{k}"}
            ns += [{"name": k, **base, **sp, "publish_proxy_enabled": True, "publish_proxy_name": f"publish_{k}"},
                   {"name": "r" + k, **base, "subscribe_proxy_enabled": True, "subscribe_proxy_name": "subscribe_" + k[0] + "j",
                    "sub_refresh_proxy_enabled": True, "sub_refresh_proxy_name": f"sub_refresh_{k}"}]
        sub = {"subscribe_proxy_enabled": True, "subscribe_proxy_name": f"subscribe_{ways}j"}
        pub = {"publish_proxy_enabled": True, "publish_proxy_name": f"publish_{ways}j"}
        ns += [
            {"name": "def", "subscribe_proxy_enabled": True, "publish_proxy_enabled": True, "sub_refresh_proxy_enabled": True},
            {"name": "both", **sub, "allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True, **pub, "allow_publish_for_client": True},
            {"name": "ulim", **sub, "allow_user_limited_channels": True},
            {"name": "force", **sub, **base, "force_recovery": True, "force_positioning": True, "force_push_join_leave": True},
            {"name": "cache", **sub, "history_size": 5, "history_ttl": "300s", "force_recovery": True, "force_recovery_mode": "cache", "auto_cache_recover": True},
            {"name": "cach2", **sub, "history_size": 5, "history_ttl": "300s", "force_recovery": True, "force_recovery_mode": "cache"},
            {"name": "allow", **sub, **base, "allow_recovery": True, "allow_positioning": True, "allow_presence_for_client": True, "allow_history_for_client": True},
            {"name": "srtok", "sub_refresh_proxy_enabled": True, "sub_refresh_proxy_name": f"sub_refresh_{ways}j", "allow_subscribe_for_client": True},
            {"name": "fjson", **pub, "publication_data_format": "json"},
            {"name": "fobj", **pub, "publication_data_format": "json_object"},
            {"name": "regx", **sub, **pub, "channel_regex": "^[a-z0-9-]+$"},
            {"name": "plain", **base, "allow_subscribe_for_client": True},
            {"name": "delta", "allow_subscribe_for_client": True, **pub, "history_size": 10, "history_ttl": "300s", "force_positioning": True,
             "allowed_delta_types": ["fossil"]},
            {"name": "pubno", "allow_subscribe_for_client": True, **pub},
            {"name": "pers", "presence": True},
            {"name": "uni", "subscribe_stream_proxy_enabled": True, **base},
            {"name": "bidi", "subscribe_stream_proxy_enabled": True, "subscribe_stream_proxy_bidirectional": True},
            {"name": "undl", "subscribe_stream_proxy_enabled": True, "allowed_delta_types": ["fossil"], "allow_tags_filter": True},
            {"name": "unfo", "subscribe_stream_proxy_enabled": True, "force_recovery": True, "force_positioning": True, "force_push_join_leave": True, **base},
            {"name": "unib", "subscribe_stream_proxy_enabled": True, "subscribe_stream_proxy_name": "stream_gb"},
            {"name": "unis", "subscribe_stream_proxy_enabled": True, "subscribe_stream_proxy_name": "stream_gs"},
            {"name": "unid", "subscribe_stream_proxy_enabled": True, "subscribe_stream_proxy_name": "stream_gd"},
            {"name": "map", "subscription_type": "map", "map": {"mode": "recoverable", "key_ttl": "300s", "stream_size": 100, "stream_ttl": "300s"}},
        ]
        c["proxies"] += [{"name": f"stream_{k}", **proxy(k, f"{k}/stream")} for k in ("gb", "gs", "gd")]
        c["channel"]["proxy"] = {e: proxy(ways + "j", f"default/{e}") for e in ("subscribe", "publish", "sub_refresh")}
        c["channel"]["proxy"]["subscribe_stream"] = proxy("gm", "default/stream")
        c["rpc"] = {"proxy": proxy(ways + "j", "default/rpc"), "without_namespace": {"proxy_enabled": True}, "ping": {"enabled": True},
                    "namespaces": [{"name": k, "proxy_enabled": True, "proxy_name": f"rpc_{k}"} for k in kinds] +
                                  [{"name": "off", "proxy_enabled": False}, {"name": "def", "proxy_enabled": True}]}
        for name, end in (("url", f"http://us%65r:pa%20ss@127.0.0.1:{port + 20}/url/rpc?a=b&c=%20"), ("bare", f"127.0.0.1:{port + 21}")):
            c["proxies"].append({"name": "end_" + name, "endpoint": end})
            c["rpc"]["namespaces"].append({"name": "e" + name, "proxy_enabled": True, "proxy_name": "end_" + name})
        for name, o in TLS.items():
            o = {k: v.replace("{cert}", cert()) if isinstance(v, str) else v for k, v in o.items()}
            c["proxies"] += [{"name": f"tls_h_{name}", "endpoint": f"https://127.0.0.1:{port + 22}/tls/rpc", "http": {"tls": o}}, {"name": f"tls_g_{name}", "endpoint": f"grpc://127.0.0.1:{port + 23}", "grpc": {"tls": o}}]
            c["rpc"]["namespaces"] += [{"name": f"t{w}{name}", "proxy_enabled": True, "proxy_name": f"tls_{w}_{name}"} for w in "hg"]
        c["grpc_api"] = {"enabled": True, "port": port + 30 + i, "address": "127.0.0.1", **({"key": "gk"} if letter == "h" else {"error_mode": "transport", "reflection": True})}
        c["uni_grpc"] = {"enabled": True, "port": port + 40 + i, "address": "127.0.0.1"}
        for n in ("sse", "http_stream", "uni_websocket", "uni_sse", "uni_http_stream"):
            c[n] = {"enabled": True}
    if letter == "b":
        c["client"] |= {"proxy": {"connect": {"enabled": True, **proxy("hb", "b/connect")}}, "allow_anonymous_connect_without_token": True, "concurrency": 8,
                        "subscribe_to_user_personal_channel": {"enabled": True, "personal_channel_namespace": "pers"}}
        ns += [{"name": "pers", "presence": True}, {"name": "hj", "subscribe_proxy_enabled": True, "publish_proxy_enabled": True, "allow_history_for_subscriber": True, "history_size": 10, "history_ttl": "300s"}]
        c["channel"]["proxy"] = {e: proxy("hj", f"b/{e}") for e in ("subscribe", "publish")}
        c["rpc"] = {"proxy": proxy("hj", "b/rpc"), "without_namespace": {"proxy_enabled": True}, "namespace_boundary": "/"}
        c["grpc_api"] = {"enabled": True, "port": port + 30 + i, "address": "127.0.0.1"}
    if letter == "t":
        c["client"]["proxy"] = {"refresh": {"enabled": True, "timeout": "1500ms", **proxy("hb", "t/refresh"), "include_connection_meta": True}}
        ns += [{"name": "srtok", "sub_refresh_proxy_enabled": True, "allow_subscribe_for_client": True}]
        c["channel"]["proxy"] = {"sub_refresh": {**proxy("hb", "t/sub_refresh"), "include_connection_meta": True}}
    return c


def stop(proc):
    if proc.poll() is None:
        proc.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            proc.wait(10)
        if proc.poll() is None:
            proc.kill()


def start(binary, letter, port, folder, stack):
    """Starts an instance: (process, log). Keys that the server says it has "not built yet" are taken out, and it is tried again."""
    c = config(letter, port)
    file, log, gone = folder / f"{letter}.json", folder / f"{letter}.log", []
    for _ in range(5):
        file.write_text(json.dumps(c, indent=1))
        proc = subprocess.Popen([binary, "--config", str(file)], stdout=log.open("w"), stderr=subprocess.STDOUT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            proc.wait(0.4)
        paths = re.findall(r"^\s*(\S+): is not built yet", log.read_text(errors="replace"), re.M) if proc.poll() else []
        if not paths:
            break
        for p in paths:
            take_out(c, p)
        gone += paths
    if gone:
        print(f"instance {letter} goes without {len(gone)} keys: " + ", ".join(sorted({re.sub(r"\[.*?\]", "[]", p) for p in gone})), flush=True)
    stack.callback(stop, proc)
    return proc, log


def take_out(c, path):
    """Deletes the key of a path such as channel.namespaces[name].option; a list's item is found by its name."""
    *way, last = re.findall(r"[^.\[\]]+|\[[^\]]*\]", path)
    for w in way:
        c = next((x for x in c if x.get("name") == w[1:-1]), {}) if w[0] == "[" else c.get(w, {})
    if isinstance(c, dict):
        c.pop(last, None)
    elif last[0] == "[":
        c[:] = [x for x in c if x.get("name") != last[1:-1]]


def ready(port):
    for path in ("/health", "/"):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1)
            return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            pass
    return False


def main():
    argv = sys.argv[1:]
    command = argv[argv.index("--") + 1:] if "--" in argv else []
    if command and command[0].endswith(".py"):
        command = [sys.executable, "-B", *command]
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("binary")
    ap.add_argument("--port", type=int, default=9000)
    ap.add_argument("--only", default=LETTERS, help="letters of the instances to start")
    ap.add_argument("--print", metavar="LETTER", help="print the configuration of that instance and exit")
    a = ap.parse_args(argv[:argv.index("--")] if "--" in argv else argv)
    if a.print:
        return print(json.dumps(config(a.print, a.port), indent=1))
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="diff-up-", ignore_cleanup_errors=True)))
        started = {x: start(a.binary, x, a.port, folder, stack) for x in a.only}
        end = time.monotonic() + 15
        for x, (proc, log) in started.items():
            port = a.port + LETTERS.index(x)
            while proc.poll() is None and not ready(port) and time.monotonic() < end:
                time.sleep(0.1)
            if proc.poll() is not None or not ready(port):
                print(f"instance {x} is not up: " + " | ".join(log.read_text(errors="replace").strip().splitlines()[-3:])[:600], flush=True)
        rc = subprocess.run([x.replace("{}", f"127.0.0.1:{a.port}") for x in command], env={**os.environ, "DIFF_UP": a.only, f"DIFF_BINARY_{a.port}": a.binary}).returncode if command else 0
        if not command:
            input("up; Enter stops it\n")
        for x, (proc, log) in started.items():
            if proc.poll() not in (None, 0):
                print(f"instance {x} ended with {proc.returncode}: " + log.read_text(errors="replace")[-600:])
        return rc


if __name__ == "__main__":
    sys.exit(main())
