"""The kit of the profile "proxy": T with a backend, gRPC calls and the instances of up.py."""
import asyncio
import contextlib
import json
import os

import grpc
from google.protobuf import empty_pb2
from google.rpc import status_pb2

import lib
from backend import Backend, dump, fill

INSTANCES = "hgbt"           # see up.py; instance i listens on the target's port + i
BACK_HTTP, BACK_GRPC, GRPC_API, UNI_GRPC = 20, 21, 30, 40


class Env:
    """What all runs against one target share: the backend, and channels to the gRPC servers of the instances."""

    def __init__(self, target):
        self.host, port = target.rsplit(":", 1)
        self.port = int(port)
        self.back = Backend(self.port + BACK_HTTP, self.port + BACK_GRPC)
        self.channels = {}

    def channel(self, offset):
        if offset not in self.channels:
            self.channels[offset] = grpc.aio.insecure_channel(f"{self.host}:{self.port + offset}")
        return self.channels[offset]

    def make(self, *args):
        return T(self, *args)


@contextlib.asynccontextmanager
async def around(target):
    env = Env(target)
    await env.back.start()
    yield env.make
    await env.back.stop()
    for c in env.channels.values():
        await c.close()
    if env.back.stray:
        print(f"WARNING: {len(env.back.stray)} requests to the backend of {target} belonged to no running case: {sorted(set(env.back.stray))[:5]}")


class T(lib.T):
    EMPTY_HEADERS = True

    def __init__(self, env, *args):
        super().__init__(*args)
        self.env, self.answers, self.streams, self.arrived, self.inst = env, {}, [], asyncio.Event(), 0
        self.unordered = False             # set when the order of the backend's calls is free
        env.back.runs[self.tag()] = self

    def at(self, instance):
        self.inst = INSTANCES.index(instance)
        self.target = f"{self.env.host}:{self.env.port + self.inst}"
        return self

    def on(self, event, answer):
        """What the backend answers: a dict, a Raw, a function of the request, or a list of them for one call after another."""
        self.answers[event] = list(answer) if isinstance(answer, list) else answer

    def calls(self, event=None):
        return [e for e in self.lane("back") if event in (None, e.get("call"))]

    async def called(self, event, n=1, secs=lib.REPLY):
        """Waits for the n-th request of that event."""
        await self.wait(lambda: len(self.calls(event)) >= n, secs, f"call {n} of {event}")

    async def wait(self, pred, secs, what):
        """Waits for something of the backend; not for long when no connection is open."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while not pred():
            self.arrived.clear()
            left = start + (secs if any(not c.is_closed for c in self.conns) or self.tasks else min(secs, 0.5)) - loop.time()
            if left <= 0:
                return self.lane("back").append({"timeout": what})
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.arrived.wait(), min(left, 0.3))

    async def opened(self, n=1):
        """The n-th stream of the subscribe stream proxy."""
        await self.wait(lambda: len(self.streams) >= n, lib.REPLY, "stream")
        return self.streams[n - 1] if len(self.streams) >= n else None

    async def join(self, label=None, ws=None, **connect):
        """A client that connects through the connect proxy (no token); its name is the tag, so that the backend knows the run."""
        c = await self.ws(label, **(ws or {}))
        if c is not None:
            await c.send({"id": 1, "connect": {"name": self.tag(), **connect}})
            await c.reply(1)
        return c or Gone()

    async def member(self, label=None, user=None, claims=None, **connect):
        """A client with a token."""
        return await self.client(user, label, claims, **connect) or Gone()

    async def grpc(self, method, req=None, key=None, mode=None, lane="grpc", md=(), raw=None, more=b""):
        """One call. key: value of authorization (None: the right one where the instance has one); mode: error mode metadata.
        raw: the request as bytes; more: bytes behind it, for what our schema lacks. A method that it lacks is sent an empty message."""
        cls = self.env.back.cls
        request, response = (cls.get(f"api.{method}{part}", empty_pb2.Empty) for part in ("Request", "Response"))
        md = list(md)
        if key is None and self.inst == 0:
            key = "apikey gk"
        if key:
            md.append(("authorization", key))
        if mode:
            md.append(("x-centrifugo-error-mode", mode))
        call = self.env.channel(GRPC_API + self.inst).unary_unary(
            "/centrifugal.centrifugo.api.CentrifugoApi/" + method,
            request_serializer=lambda d: raw if raw is not None else fill(request(), d).SerializeToString() + more,
            response_deserializer=response.FromString)
        try:
            out = dump(await call(req or {}, metadata=md, timeout=5))
        except grpc.aio.AioRpcError as e:
            out = {"code": e.code().name, "details": e.details()}
            for k, v in e.trailing_metadata() or ():
                if k == "grpc-status-details-bin":
                    st = status_pb2.Status.FromString(v)
                    out["more"] = [{"type": x.type_url, **dump(cls["api.Error"].FromString(x.value))} for x in st.details]
            if "more" not in out and out["code"] != "UNAUTHENTICATED":
                out["details"] = "<library's words>"
        self.lane(lane).append({"reply": out})
        return out

    async def uni_grpc(self, label, req=None, md=(), secs=1.0):
        """Opens a unidirectional gRPC stream in the background."""
        cls, lane, first = self.env.back.cls, self.lane(label), asyncio.Event()

        async def go():
            call = self.env.channel(UNI_GRPC + self.inst).unary_stream(
                "/centrifugal.centrifugo.unistream.CentrifugoUniStream/Consume",
                request_serializer=lambda d: fill(cls["unistream.ConnectRequest"](), d).SerializeToString(),
                response_deserializer=cls["unistream.Push"].FromString)
            try:
                async for m in call(req or {}, metadata=list(md), timeout=20):
                    d = dump(m)
                    if d.get("connect", {}).get("client"):
                        self.ids[d["connect"]["client"]] = f"<{label}>"
                    lane.append({"rx": d})
                    first.set()
                lane.append({"stream": "end"})
            except grpc.aio.AioRpcError as e:
                if not self.done:
                    lane.append({"code": e.code().name, "details": "" if e.code().name == "UNAVAILABLE" else e.details()})
            first.set()

        self.tasks.append(asyncio.create_task(go()))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(first.wait(), secs)

    def leave(self, c):
        """The connection breaks, seen from the server."""
        if c and not c.is_closed:
            c.ws.transport.abort()

    async def alive(self, c, secs=0.3):
        """Notes whether the connection still answers."""
        await asyncio.sleep(secs)
        if not getattr(c, "is_closed", True):
            await c.stats("open:" + self.tag())

    async def finish(self):
        out = await super().finish()
        for s in self.streams:
            await s.end()
        if self.unordered:
            out["back"] = sorted(out.get("back", []), key=lambda e: json.dumps(e, sort_keys=True))
        self.env.back.runs.pop(self.tag(), None)
        for k in [k for k, v in self.env.back.clients.items() if v is self]:
            del self.env.back.clients[k]
        return out


class Gone:
    """Stands for a connection that could not be opened: everything on it is nothing."""
    is_closed, client = True, ""

    def __getattr__(self, name):
        async def nothing(*a, **kw):
            return {}
        return nothing


def add(name, intent, fn, on="h", pb=True, ref="§18", **kw):
    """A case for each instance of `on`; the instance's letter is appended to the name if there are several. Under up.py,
    cases whose instance was not started are left out."""
    up = os.environ.get("DIFF_UP")
    for i in on:
        if up and i not in up:
            continue
        async def go(t, i=i):
            await fn(t.at(i))
        go.__module__ = fn.__module__
        lib.add(name + (f"-{i}" if len(on) > 1 else ""), intent, ref, go, pb=pb, profile="proxy", **kw)


def case(name, intent, **kw):
    return lambda fn: add(name, intent, fn, **kw) or fn
