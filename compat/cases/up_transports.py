#!/usr/bin/env python3
"""Starts the servers that the profile "transports" needs, runs a command, stops them.

    up_transports.py BINARY [--port N] [--print LETTER] [--without KEY]… -- COMMAND…      (in COMMAND, {} is 127.0.0.1:PORT)

Three instances of BINARY (`BINARY --config FILE`), on PORT, PORT + 1 and PORT + 2 (free ones, unless told); their internal ports are 20, their uni_grpc ports 30 above:
  a  every transport on, compression, HTTP/2 without TLS (internal port of its own for that), WebSocket over HTTP/2
  b  small limits, compression from 200 bytes, HTTP codes for refused connects, other addresses, joined pushes, no disconnect push
  c  as little as possible: no emulation, no compression, no origin allowed; disconnects made of connect errors, no closing handshake
--without http_server.h2c_external leaves a key out (a binary that does not know it). An instance that does not start is reported; the command runs all the same.
"""
import argparse
import copy
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SUBSCRIBE = {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}
PUBLISH = {"allow_publish_for_client": True, "allow_publish_for_anonymous": True}
HISTORY = {"history_size": 10, "history_ttl": "300s", "allow_history_for_client": True, "allow_history_for_anonymous": True}
BASE = {
    "log": {"level": "error"}, "usage_stats": {"disabled": True}, "health": {"enabled": True},
    "http_api": {"key": "k", "external": True},
    "client": {"token": {"hmac_secret_key": "secret"}, "allowed_origins": ["https://ok.example", "https://*.wild.example"], "allow_anonymous_connect_without_token": True,
               "ping_interval": "4s", "pong_timeout": "2s", "stale_close_delay": "2s", "expired_close_delay": "1s", "channel_limit": 12},
    "channel": {"without_namespace": {}, "namespaces": [
        {"name": "open", **SUBSCRIBE}, {"name": "pub", **SUBSCRIBE, **PUBLISH}, {"name": "recov", **SUBSCRIBE, **PUBLISH, **HISTORY, "force_recovery": True},
        {"name": "jl", **SUBSCRIBE, "presence": True, "join_leave": True, "force_push_join_leave": True, "allow_presence_for_client": True, "allow_presence_for_anonymous": True}, {"name": "deny"}]},
}
TRANSFORMS = [{"code": 109, "to": {"status_code": 403, "body": "expired"}}, {"code": 3500, "to": {"status_code": 401}}, {"code": 102, "to": {"status_code": 404, "body": "{\"error\":\"no such channel\"}"}},
              {"code": 109, "to": {"status_code": 418, "body": "second"}}]
DISCONNECTS = [{"code": 109, "to": {"code": 4109, "reason": "token is over"}}, {"code": 102, "to": {"code": 4602, "reason": "no such channel"}}]
OVER = {
    "a": {"http_server": {"h2c_external": True}, "init": {"enabled": True}, "websocket": {"compression": True}, "sse": {"enabled": True}, "http_stream": {"enabled": True},
          "uni_websocket": {"enabled": True, "compression": True}, "uni_sse": {"enabled": True}, "uni_http_stream": {"enabled": True}, "uni_grpc": {"enabled": True}},
    "b": {"init": {"enabled": True, "handler_prefix": "/b/init"},
          "websocket": {"handler_prefix": "/b/ws", "compression": True, "compression_min_size": 200, "compression_level": 6, "message_size_limit": 8192, "decompressed_message_size_limit": 20000},
          "sse": {"enabled": True, "handler_prefix": "/b/sse", "max_request_body_size": 400}, "http_stream": {"enabled": True, "handler_prefix": "/b/stream", "max_request_body_size": 400},
          "emulation": {"handler_prefix": "/b/emu", "max_request_body_size": 300},
          "uni_websocket": {"enabled": True, "handler_prefix": "/b/uni_ws", "compression": True, "compression_min_size": 200, "message_size_limit": 2048, "decompressed_message_size_limit": 4000, "join_push_messages": True, "disable_disconnect_push": True},
          "uni_sse": {"enabled": True, "handler_prefix": "/b/uni_sse", "max_request_body_size": 400, "connect_code_to_http_response": {"enabled": True, "transforms": TRANSFORMS}},
          "uni_http_stream": {"enabled": True, "handler_prefix": "/b/uni_stream", "max_request_body_size": 400, "connect_code_to_http_response": {"enabled": True, "transforms": TRANSFORMS}},
          "uni_grpc": {"enabled": True, "max_receive_message_size": 500}},
    "c": {"client": {"allowed_origins": [], "allow_anonymous_connect_without_token": False, "connect_code_to_unidirectional_disconnect": {"enabled": True, "transforms": DISCONNECTS}},
          "uni_websocket": {"enabled": True, "disable_closing_handshake": True}, "uni_sse": {"enabled": True}, "uni_http_stream": {"enabled": True}, "uni_grpc": {"enabled": True}},
}


def merged(a, b):
    out = copy.deepcopy(a)
    for k, v in b.items():
        out[k] = merged(out[k], v) if isinstance(v, dict) and isinstance(out.get(k), dict) else copy.deepcopy(v)
    return out


def free():
    """A port that is free together with all that are counted from it."""
    while True:
        port, sockets = random.randrange(20000, 32000), []
        try:
            for offset in range(len(OVER)):
                for more in (0, 20, 30):
                    s = socket.socket()
                    sockets.append(s)
                    s.bind(("127.0.0.1", port + offset + more))
            return port
        except OSError:
            pass
        finally:
            for s in sockets:
                s.close()


def config(letter, port, without=()):
    c = merged(BASE, OVER[letter])
    h = c.setdefault("http_server", {})
    h.update(port=port, internal_port=str(port + 20))
    c["uni_grpc"]["port"] = port + 30
    for key in without:
        at, *path = key.split(".")
        node, last = c, at
        for p in path:
            node, last = node.get(last, {}), p
        node.pop(last, None)
    return c


def main():
    argv, command = sys.argv[1:], []
    if "--" in argv:
        argv, command = argv[:argv.index("--")], argv[argv.index("--") + 1:]
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("binary")
    ap.add_argument("--port", type=int, help="the first one; free ones unless told")
    ap.add_argument("--print", choices=list(OVER), dest="show")
    ap.add_argument("--without", action="append", default=[], metavar="KEY")
    a = ap.parse_args(argv)
    a.port = a.port or free()
    if a.show:
        return print(json.dumps(config(a.show, a.port, a.without), indent=2))
    procs = []
    with tempfile.TemporaryDirectory() as d:
        for i, letter in enumerate(OVER):
            file = f"{d}/{letter}.json"
            with open(file, "w") as f:
                json.dump(config(letter, a.port + i, a.without), f)
            log = open(f"{d}/{letter}.log", "w+")
            procs.append((letter, subprocess.Popen([a.binary, "--config", file], stdout=log, stderr=log, env={**os.environ, "GODEBUG": "http2xconnect=1"}), log, a.port + i))
        try:
            for letter, p, log, port in procs:
                for _ in range(100):
                    try:
                        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                        break
                    except urllib.error.HTTPError:
                        break
                    except OSError:
                        if p.poll() is not None:
                            log.seek(0)
                            print(f"instance {letter} did not start: {log.read().strip()[-400:]}", flush=True)
                            break
                        time.sleep(0.1)
            if command:
                return subprocess.call([c.replace("{}", f"127.0.0.1:{a.port}") for c in command])
            print(f"up: 127.0.0.1:{a.port}", flush=True)
            procs[0][1].wait()
        finally:
            for _, p, _, _ in procs:
                p.terminate()
            for _, p, _, _ in procs:
                try:
                    p.wait(5)
                except subprocess.TimeoutExpired:
                    p.kill()


if __name__ == "__main__":
    sys.exit(main())
