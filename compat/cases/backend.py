"""A scripted, recording application backend: HTTP and gRPC on two ports of one process.

What it receives goes to the lane "back" of the run (T) it belongs to; what it answers the case has set with T.on.
A request belongs to the run whose tag (case name and random part) occurs in it, or whose client id it carries.
"""
import asyncio
import base64
import contextlib
import gzip
import json
import os
import pathlib
import ssl
import sys
import tempfile

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = (HERE / "proxy.proto", HERE.parent / "python/unistream.proto", HERE.parents[1] / "crates/server/proto/api.proto")
HIDDEN = {"host", "content-length", "accept-encoding", "connection", "transfer-encoding", "te", "user-agent", "accept", "referer"}
METHODS = {"Connect": "connect", "Refresh": "refresh", "Subscribe": "subscribe", "SubRefresh": "sub_refresh", "Publish": "publish", "RPC": "rpc"}
STREAMS = ("SubscribeUnidirectional", "SubscribeBidirectional")


# --- Protobuf messages, compiled from the public .proto files when the harness starts ---------------------------

def protos():
    """Message classes by full name, less `centrifugal.centrifugo.`."""
    from grpc_tools import protoc
    pool = descriptor_pool.DescriptorPool()
    with tempfile.TemporaryDirectory() as d:
        if protoc.main(["", *(f"-I{p.parent}" for p in PROTOS), "--descriptor_set_out=" + d + "/set", "--include_imports", *(p.name for p in PROTOS)]):
            sys.exit("protoc failed")
        files = descriptor_pb2.FileDescriptorSet.FromString((pathlib.Path(d) / "set").read_bytes())
    out = {}
    for f in files.file:
        pool.Add(f)
    for f in files.file:
        for m in f.message_type:
            name = f.package + "." + m.name
            out[name.removeprefix("centrifugal.centrifugo.")] = message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    return out


def repeated(f):
    return f.is_repeated if hasattr(f, "is_repeated") else f.label == f.LABEL_REPEATED


def is_map(f):
    return f.message_type is not None and f.message_type.GetOptions().map_entry


def fill(msg, d):
    """Message from a dict with the JSON names; bytes fields take bytes or a JSON value."""
    for k, v in (d or {}).items():
        f = msg.DESCRIPTOR.fields_by_name.get(k)
        if f is None or v is None:
            continue
        if is_map(f):
            for mk, mv in v.items():
                if f.message_type.fields_by_name["value"].message_type:
                    fill(getattr(msg, k)[mk], mv)
                else:
                    getattr(msg, k)[mk] = mv
        elif f.message_type:
            if repeated(f):
                for x in v:
                    fill(getattr(msg, k).add(), x)
            else:
                getattr(msg, k).SetInParent()
                fill(getattr(msg, k), v)
        elif f.type == f.TYPE_BYTES:
            setattr(msg, k, v if isinstance(v, bytes) else json.dumps(v, separators=(",", ":")).encode())
        elif repeated(f):
            getattr(msg, k).extend(v)
        else:
            setattr(msg, k, v)
    return msg


def dump(msg):
    """The fields that are set, with the JSON names; bytes stay bytes."""
    out = {}
    for f, v in msg.ListFields():
        if is_map(f):
            sub = f.message_type.fields_by_name["value"].message_type
            out[f.name] = {k: dump(x) if sub else x for k, x in v.items()}
        elif f.message_type:
            out[f.name] = [dump(x) for x in v] if repeated(f) else dump(v)
        else:
            out[f.name] = list(v) if repeated(f) else v
    return out


# --- answers ------------------------------------------------------------------------------------------------------

class Raw:
    """An answer that is more than a dict. body: bytes, str or dict; hangup: the connection is closed without an answer."""

    def __init__(self, body=None, status=200, headers=None, delay=0, hangup=False, chunked=False, gzipped=False, code=None, details=""):
        self.body, self.status, self.headers, self.delay = body, status, headers or {}, delay
        self.hangup, self.chunked, self.gzipped, self.code, self.details = hangup, chunked, gzipped, code, details


def ok(**result): return {"result": result}
def error(code=1000, message="custom error", **kw): return {"error": {"code": code, "message": message, **kw}}
def bye(code=4000, reason="custom disconnect"): return {"disconnect": {"code": code, "reason": reason}}


def show_body(body):
    """A request as it is recorded: base64 decoded, channels sorted, version hidden from the normaliser."""
    if not isinstance(body, dict):
        return body
    body = dict(body)
    if isinstance(body.get("b64data"), str):
        raw = body["b64data"]
        try:
            decoded = base64.b64decode(raw, validate=True)
            if base64.b64encode(decoded).decode() == raw:
                body["b64data"] = {"decoded": decoded}
        except ValueError:
            pass
    if isinstance(body.get("channels"), list):
        body["channels"] = sorted(body["channels"])
    if "version" in body:
        body["version"] = [body["version"]]
    return body


class Stream:
    """One stream of the subscribe stream proxy, driven by the case."""

    def __init__(self, t, cls):
        self.t, self.cls, self.queue, self.over = t, cls, asyncio.Queue(), asyncio.Event()

    async def send(self, d): await self.queue.put(d)
    async def end(self, code=None, details=""): await self.queue.put((code, details))


class Backend:
    def __init__(self, http_port, grpc_port):
        self.http_port, self.grpc_port = http_port, grpc_port
        self.runs, self.clients, self.stray = {}, {}, []

    async def start(self):
        self.cls = protos()
        self.server = await asyncio.start_server(self._http, "127.0.0.1", self.http_port, limit=1 << 22)
        self.grpc = grpc.aio.server()
        self.grpc.add_generic_rpc_handlers((self._handlers(),))
        self.grpc.add_insecure_port(f"127.0.0.1:{self.grpc_port}")
        if "DIFF_CERT" in os.environ:                      # TLS on the two ports behind
            cert, key = os.environ["DIFF_CERT"].encode(), os.environ["DIFF_KEY"].encode()
            with tempfile.NamedTemporaryFile() as f:
                f.write(cert + key)
                f.flush()
                tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                tls.load_cert_chain(f.name)
            self.https = await asyncio.start_server(self._http, "127.0.0.1", self.http_port + 2, ssl=tls)
            self.grpc.add_secure_port(f"127.0.0.1:{self.grpc_port + 2}", grpc.ssl_server_credentials([(key, cert)]))
        await self.grpc.start()

    async def stop(self):
        self.server.close()
        await self.grpc.stop(0)

    def owner(self, body, text):
        for tag, t in self.runs.items():
            if tag in text:
                break
        else:
            t = self.clients.get(isinstance(body, dict) and body.get("client"))
        if t and isinstance(body, dict) and body.get("client"):
            self.clients[body["client"]] = t
        return t

    def received(self, event, via, headers, body, text):
        """Records a request; returns the run it belongs to and the answer set for it."""
        t = self.owner(body, text)
        if t is None or t.done:
            self.stray.append(via)
            return None, Raw(status=418, code="NOT_FOUND")
        t.lane("back").append({"call": event, "via": via, "headers": headers, "body": show_body(body)})
        t.arrived.set()
        if event == "stream":
            return t, None
        a = t.answers.get(event, ok(user=t.user) if event == "connect" else ok())
        if isinstance(a, list):
            a = a.pop(0) if len(a) > 1 else a[0]
        a = a(body) if callable(a) else a
        return t, a if isinstance(a, Raw) else Raw(a)

    # HTTP/1.1

    async def _http(self, r, w):
        try:
            while await self._one(r, w):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ValueError):
            pass
        w.close()

    async def _one(self, r, w):
        lines = (await r.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        pairs = [(k.lower(), v.strip()) for k, _, v in (x.partition(":") for x in lines[1:] if x)]
        head = {}
        for k, v in pairs:
            head[k] = head[k] + " | " + v if k in head else v
        if head.get("transfer-encoding") == "chunked":
            raw = b""
            while n := int((await r.readline()).split(b";")[0], 16):
                raw += await r.readexactly(n)
                await r.readline()
            await r.readline()
        else:
            raw = await r.readexactly(int(head.get("content-length", 0)))
        try:
            body = json.loads(raw)
        except ValueError:
            body = {"not_json": raw.decode("latin1")[:200]}
        shown = {k: v for k, v in head.items() if k not in HIDDEN or "diff-" in v}
        t, a = self.received(path.split("?")[0].rsplit("/", 1)[-1], f"{method} {path}", shown, body, " ".join([raw.decode("latin1"), path, *head.values()]))
        await asyncio.sleep(a.delay)
        if a.hangup:
            return False
        out = a.body if isinstance(a.body, bytes) else b"" if a.body is None else (a.body if isinstance(a.body, str) else json.dumps(a.body)).encode()
        headers = {"Content-Type": "application/json", **a.headers}
        if t and "Location" in headers:
            headers["Location"] += "?" + t.tag()      # a client that follows is recognised
        if a.gzipped:
            out, headers["Content-Encoding"] = gzip.compress(out), "gzip"
        if a.chunked:
            headers["Transfer-Encoding"] = "chunked"
            out = b"".join(f"{len(out[i:i + 7]):x}\r\n".encode() + out[i:i + 7] + b"\r\n" for i in range(0, len(out), 7)) + b"0\r\n\r\n"
        elif a.status != 204:
            headers["Content-Length"] = len(out)
        w.write(f"HTTP/1.1 {a.status} X\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in headers.items()).encode() + b"\r\n" + out)
        await w.drain()
        return True

    # gRPC

    def _handlers(self):
        service, cls = "centrifugal.centrifugo.proxy.CentrifugoProxy", self.cls
        rpcs = {}
        for name, event in METHODS.items():
            async def unary(req, ctx, n=name, e=event):
                return await self._unary(n, e, req, ctx)
            rpcs[name] = grpc.unary_unary_rpc_method_handler(unary, cls[f"proxy.{name}Request"].FromString, lambda m: m.SerializeToString())
        rpcs[STREAMS[0]] = grpc.unary_stream_rpc_method_handler(self._uni, cls["proxy.SubscribeRequest"].FromString, lambda m: m.SerializeToString())
        rpcs[STREAMS[1]] = grpc.stream_stream_rpc_method_handler(self._bidi, cls["proxy.StreamSubscribeRequest"].FromString, lambda m: m.SerializeToString())
        return grpc.method_handlers_generic_handler(service, rpcs)

    def _note(self, name, event, req, ctx):
        md = {}
        for k, v in ctx.invocation_metadata():
            if not k.startswith("grpc-") and (k not in HIDDEN and k != "content-type" or "diff-" in str(v)):
                md[k] = md[k] + " | " + v if k in md else v
        body = dump(req)
        return self.received(event, "grpc " + name, md, body, str(body) + " ".join(map(str, md.values())))

    async def _unary(self, name, event, req, ctx):
        _, a = self._note(name, event, req, ctx)
        await asyncio.sleep(a.delay)
        if a.code:
            await ctx.abort(getattr(grpc.StatusCode, a.code), a.details)
        return fill(self.cls[f"proxy.{name}Response"](), a.body)

    async def _uni(self, req, ctx):
        t, _ = self._note(STREAMS[0], "stream", req, ctx)
        async with contextlib.aclosing(self._stream(t, ctx)) as messages:
            async for m in messages:
                yield m

    async def _bidi(self, requests, ctx):
        first = await requests.__anext__()
        t, _ = self._note(STREAMS[1], "stream", first.subscribe_request, ctx)

        async def reader():
            try:
                async for m in requests:
                    if t:
                        t.lane("back").append({"call": "stream message", "body": dump(m)})
                        t.arrived.set()
            except (asyncio.CancelledError, grpc.RpcError):
                pass

        task = asyncio.create_task(reader())
        try:
            async with contextlib.aclosing(self._stream(t, ctx)) as messages:
                async for m in messages:
                    yield m
        finally:
            task.cancel()

    async def _stream(self, t, ctx):
        if t is None:
            await ctx.abort(grpc.StatusCode.NOT_FOUND, "stray")
        s = Stream(t, self.cls["proxy.StreamSubscribeResponse"])
        t.streams.append(s)
        t.arrived.set()
        script = t.answers.get("stream")
        for d in script if isinstance(script, list) else []:
            await s.send(d)
        ours = False
        try:
            while True:
                d = await s.queue.get()
                if isinstance(d, tuple):
                    ours = True
                    if d[0]:
                        await ctx.abort(getattr(grpc.StatusCode, d[0]), d[1])
                    break
                if isinstance(d, (int, float)):
                    await asyncio.sleep(d)
                else:
                    yield fill(s.cls(), d)
        finally:
            if not ours and not t.done:
                t.lane("back").append({"call": "stream cancelled"})
            s.over.set()
