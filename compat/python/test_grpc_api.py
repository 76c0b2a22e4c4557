"""The gRPC API, with `grpcio` and our own schema: every method, its effect seen by another door."""
import contextlib
import json
import os
import subprocess
import sys
import threading
import time

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pb2

from server import API_KEY, ROOT, Server, config, free_port
from webtransport import certificate as make_certificate
from wire import Raw

pytestmark = pytest.mark.usefixtures("only_spinward")

sys.path.insert(0, str(ROOT / "crates/server/proto"))
api, services = grpc.protos_and_services("api.proto")
health, health_services = grpc.protos_and_services("health.proto")
reflection, reflection_services = grpc.protos_and_services("reflection.proto")

TIMEOUT = 10
SERVICE = "centrifugal.centrifugo.api.CentrifugoApi"
KEY = (("authorization", f"apikey {API_KEY}"),)
Code = grpc.StatusCode


@contextlib.contextmanager
def running(extra=None, **options):
    port = free_port()
    settings = config()
    settings["grpc_api"] = {"enabled": True, "address": "127.0.0.1", "port": port, "key": API_KEY, **options}
    settings.update(extra or {})
    with Server(settings) as server:
        server.grpc = f"127.0.0.1:{port}"
        yield server


@pytest.fixture(scope="module")
def server():
    with running(reflection=True) as server:
        yield server


@pytest.fixture(scope="module")
def stub(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield services.CentrifugoApiStub(channel)


def call(stub, method, metadata=KEY, **fields):
    """Makes a call and gives its result."""
    request = getattr(api, f"{method}Request")(**fields)
    response = getattr(stub, method)(request, timeout=TIMEOUT, metadata=metadata)
    assert not response.HasField("error"), (method, response.error)
    assert response.HasField("result"), method
    return response.result


def error(stub, method, /, **fields):
    """Makes a call that fails in the default error mode."""
    response = getattr(stub, method)(getattr(api, f"{method}Request")(**fields), timeout=TIMEOUT, metadata=KEY)
    assert not response.HasField("result")
    return response.error.code, response.error.message


def refused(call_, *arguments, **more):
    with pytest.raises(grpc.RpcError) as raised:
        call_(*arguments, timeout=TIMEOUT, **more)
    return raised.value


class Client(Raw):
    """A connection of a user."""

    def push(self, kind):
        """The next push of this kind; others are left out."""
        while True:
            got = self.next()
            assert not isinstance(got, tuple), got
            if kind in got.get("push", {}):
                return got["push"][kind]

    def closed(self):
        """Code and reason of the close that comes."""
        return self.until_close()[-1][1:]

    def alive(self):
        self.send_json({"id": 77, "rpc": {"method": "x", "data": {}}})
        while True:
            got = self.next()
            if isinstance(got, tuple) or got.get("id") == 77:
                return not isinstance(got, tuple)


def login(server, user, **claims):
    raw = Client(server.port)
    return raw, Raw.login(raw, {"sub": user, **claims})["connect"]["client"]


# Every method, its effect seen over HTTP or by a client.

def test_publish(server, stub):
    raw, _ = login(server, "pub", channels=["recov:g"])
    with raw:
        result = call(stub, "Publish", channel="recov:g", data=b'{"n":  1}', tags={"a": "b"}, idempotency_key="k")
        assert result.offset == 1 and result.epoch
        assert call(stub, "Publish", channel="recov:g", data=b"2", idempotency_key="k") == result
        pub = raw.push("pub")
        assert (pub["data"], pub["tags"], pub["offset"]) == ({"n": 1}, {"a": "b"}, 1)
        call(stub, "Publish", channel="recov:g", b64data="eyJiIjoxfQ==")
        assert raw.push("pub")["data"] == {"b": 1}
        skipped = call(stub, "Publish", channel="recov:g", data=b"3", skip_history=True)
        assert skipped.offset == 0
    kept = server.api("history", channel="recov:g", limit=-1)["publications"]
    assert [publication["data"] for publication in kept] == [{"n": 1}, {"b": 1}]
    assert error(stub, "Publish", channel="nope:x", data=b"1") == (102, "unknown channel")
    assert error(stub, "Publish", channel="recov:g", b64data="!!") == (107, "bad request")


def test_broadcast(server, stub):
    responses = call(stub, "Broadcast", channels=["recov:b1", "nope:x", "recov:b2"], data=b'"all"', version=7).responses
    assert [response.error.code for response in responses] == [0, 102, 0]
    assert [response.result.offset for response in responses] == [1, 0, 1]
    for channel in ("recov:b1", "recov:b2"):
        assert server.api("history", channel=channel, limit=-1)["publications"][0]["data"] == "all"


def test_broadcast_to_too_many_channels(server, stub):
    request = api.BroadcastRequest(channels=["recov:x"] * 10_001, data=b"1")
    assert refused(stub.Broadcast, request, metadata=KEY).code() == Code.INVALID_ARGUMENT
    assert server.api("history", channel="recov:x")["offset"] == 0


def test_connections_of_a_user(server, stub):
    raw, client = login(server, "conn")
    with raw:
        call(stub, "Subscribe", user="conn", channel="room:g", info=b'{"i":1}', data=b'{"d":1}')
        assert raw.push("subscribe")["data"] == {"d": 1}
        assert server.api("presence", channel="room:g")["presence"][client]["chan_info"] == {"i": 1}
        override = api.SubscribeOptionOverride(presence=api.BoolValue(value=False))
        call(stub, "Subscribe", user="conn", client=client, channel="room:hidden", override=override)
        assert server.api("presence", channel="room:hidden")["presence"] == {}
        call(stub, "Unsubscribe", user="conn", channel="room:g")
        assert raw.push("unsubscribe")["code"] == 2000
        assert server.api("presence", channel="room:g")["presence"] == {}
        expire_at = int(time.time()) + 100
        call(stub, "Refresh", user="conn", client=client, expire_at=expire_at, info=b'{"new":1}')
        assert 95 <= raw.push("refresh")["ttl"] <= 100
        # One that is spared, and then not.
        call(stub, "Disconnect", user="conn", whitelist=[client])
        assert raw.alive()
        call(stub, "Disconnect", user="conn", disconnect=api.Disconnect(code=4321, reason="mine"))
        assert raw.closed() == (4321, "mine")
    raw, _ = login(server, "conn")
    with raw:
        call(stub, "Refresh", user="conn", expired=True)
        assert raw.closed()[0] == 3005


def test_presence_and_channels(server, stub):
    raw, client = login(server, "here", channels=["room:p"], info={"c": 1})
    with raw:
        seen = call(stub, "Presence", channel="room:p").presence
        assert set(seen) == {client}
        assert (seen[client].user, json.loads(seen[client].conn_info)) == ("here", {"c": 1})
        stats = call(stub, "PresenceStats", channel="room:p")
        assert (stats.num_clients, stats.num_users) == (1, 1)
        assert {name: one.num_clients for name, one in call(stub, "Channels", pattern="room:p").channels.items()} == {"room:p": 1}
    assert error(stub, "Presence", channel="recov:x") == (108, "not available")


def test_history(server, stub):
    for number in range(4):
        server.api("publish", channel="recov:h", data=number)
    top = call(stub, "History", channel="recov:h")
    assert (top.offset, list(top.publications)) == (4, [])
    since = api.StreamPosition(offset=1, epoch=top.epoch)
    page = call(stub, "History", channel="recov:h", limit=2, since=since)
    assert [(publication.offset, publication.data) for publication in page.publications] == [(2, b"1"), (3, b"2")]
    page = call(stub, "History", channel="recov:h", limit=1, reverse=True)
    assert [publication.offset for publication in page.publications] == [4]
    since.epoch = "another"
    assert error(stub, "History", channel="recov:h", limit=1, since=since) == (112, "unrecoverable position")
    call(stub, "HistoryRemove", channel="recov:h")
    assert server.api("history", channel="recov:h", limit=-1)["publications"] == []


def test_info_is_that_of_http(server, stub):
    node = call(stub, "Info").nodes[0]
    other = server.api("info")["nodes"][0]
    assert (node.uid, node.name, node.version) == (other["uid"], other["name"], other["version"])
    assert node.num_clients == other["num_clients"] and not node.HasField("process")


def test_rpc_and_maps_are_refused(stub):
    assert error(stub, "RPC", method="x") == (104, "not found")
    assert error(stub, "RPC") == (107, "bad request")
    for method, fields in {
        "MapPublish": {"key": "k"}, "MapRemove": {"key": "k"}, "MapReadState": {}, "MapReadStream": {}, "MapStats": {},
        "MapClear": {}, "SharedPollPublish": {"key": "k", "version": 1},
    }.items():
        assert error(stub, method, channel="recov:x", **fields) == (107, "bad request"), method
        assert error(stub, method, channel="nope:x", **fields) == (102, "unknown channel"), method


def test_revocation(server, stub):
    raw, _ = login(server, "blocked")
    with raw:
        call(stub, "BlockUser", user="blocked", expire_at=int(time.time()) + 100)
        assert raw.closed()[0] == 3507
    with Client(server.port) as raw:
        assert raw.login({"sub": "blocked"})[1] == 3507
    call(stub, "UnblockUser", user="blocked")
    raw, _ = login(server, "blocked", jti="one-of-them")
    with raw:
        call(stub, "RevokeToken", uid="one-of-them")
        assert raw.closed()[0] == 3500
    raw, _ = login(server, "old", iat=1)
    with raw:
        call(stub, "InvalidateUserTokens", user="old", issued_before=int(time.time()))
        assert raw.closed()[0] == 3500
    assert error(stub, "InvalidateUserTokens", user="old") == (107, "bad request")


def test_explain_is_that_of_http(server, stub):
    question = {"user": "42", "channel": "closed:x", "action": "subscribe"}
    told = call(stub, "Explain", **question)
    other = server.api("explain", **question)
    assert (told.verdict, told.code, told.rule, told.reason) == (other["verdict"], other["code"], other["rule"], other["reason"])
    assert [(step.rule, step.outcome) for step in told.trail] == [(step["rule"], step["outcome"]) for step in other["trail"]]
    assert told.namespace == other["namespace"] and list(told.change) == other["change"]
    assert error(stub, "Explain", action="nonsense") == (107, "bad request")


def test_a_drain_ends_health_and_goes_back():
    with running() as server, grpc.insecure_channel(server.grpc) as channel:
        stub = services.CentrifugoApiStub(channel)
        probe = health_services.HealthStub(channel)
        serving = lambda: probe.Check(health.HealthCheckRequest(service=SERVICE), timeout=TIMEOUT).status
        assert serving() == health.HealthCheckResponse.SERVING
        watch = probe.Watch(health.HealthCheckRequest(), timeout=TIMEOUT)
        assert next(watch).status == health.HealthCheckResponse.SERVING
        call(stub, "Drain", notice=60)
        assert httpx.get(f"{server.http}/readyz").status_code == 503
        assert serving() == health.HealthCheckResponse.NOT_SERVING
        assert next(watch).status == health.HealthCheckResponse.NOT_SERVING
        assert error(stub, "Drain") == (107, "bad request")
        call(stub, "Drain", cancel=True)
        assert serving() == health.HealthCheckResponse.SERVING
        assert next(watch).status == health.HealthCheckResponse.SERVING


@pytest.mark.parametrize("parallel", [False, True])
def test_batch(server, stub, parallel):
    channel = f"recov:batch-{parallel}"
    commands = [
        api.Command(publish=api.PublishRequest(channel=channel, data=b'"a"')),
        api.Command(publish=api.PublishRequest(channel="nope:x", data=b"1")),
        api.Command(),
        api.Command(info=api.InfoRequest()),
        api.Command(broadcast=api.BroadcastRequest(channels=[channel], data=b'"b"')),
    ]
    replies = stub.Batch(api.BatchRequest(commands=commands, parallel=parallel), timeout=TIMEOUT, metadata=KEY).replies
    assert [reply.error.code for reply in replies] == [0, 102, 104, 0, 0]
    assert replies[0].publish.epoch and len(replies[3].info.nodes) == 1
    kept = server.api("history", channel=channel, limit=-1)["publications"]
    assert sorted(publication["data"] for publication in kept) == ["a", "b"]


def test_a_batch_that_is_too_large_has_no_effect(server, stub):
    one = api.Command(publish=api.PublishRequest(channel="recov:many", data=b"1"))
    request = api.BatchRequest(commands=[one] * 10_001)
    assert refused(stub.Batch, request, metadata=KEY).code() == Code.INVALID_ARGUMENT
    assert server.api("history", channel="recov:many")["offset"] == 0


def test_connections_are_listed_and_selected_by_labels(server, stub):
    with Raw(server.port) as free, Raw(server.port) as paid:
        ids = [client.login({"sub": "labelled", "labels": {"plan": plan}})["connect"]["client"] for client, plan in ((free, "free"), (paid, "paid"))]
        listed = call(stub, "Connections", user="labelled", limit=1)
        assert list(listed.connections) == [min(ids)] and listed.cursor == min(ids)
        plan = api.FilterNode(key="plan", cmp="eq", val="free")
        listed = call(stub, "Connections", label_filter=plan)
        assert list(listed.connections) == ids[:1] and listed.connections[ids[0]].labels == {"plan": "free"}
        call(stub, "Disconnect", all_users=True, label_filter=plan)
        assert free.until_close()[-1][1] == 3503
        assert list(call(stub, "Connections", user="labelled").connections) == ids[1:]
        assert error(stub, "Disconnect", all_users=True, label_filter=api.FilterNode(op="xor"))[0] == 107


def test_every_method_of_the_schema_is_called_here():
    names = {method.name for method in api.DESCRIPTOR.services_by_name["CentrifugoApi"].methods}
    text = open(__file__).read()
    missing = [name for name in names if f'"{name}"' not in text and f"stub.{name}(" not in text]
    assert not missing


# Who may call.

@pytest.mark.parametrize("value", [None, "apikey no", "apikey  " + API_KEY, "APIKEY " + API_KEY, API_KEY, "Bearer " + API_KEY, "apikey " + API_KEY + "x", "apikey "])
def test_a_wrong_key_has_no_effect(server, stub, value):
    metadata = (("authorization", value),) if value else ()
    since = server.mark()
    request = api.PublishRequest(channel="recov:key", data=b"1")
    failure = refused(stub.Publish, request, metadata=metadata)
    assert (failure.code(), failure.details()) == (Code.UNAUTHENTICATED, "unauthenticated")
    assert server.api("history", channel="recov:key")["offset"] == 0
    assert server.await_log("gRPC API call refused", since) or "silent" in server.log()
    assert API_KEY not in server.log()


def test_without_a_key_everyone_may_call():
    with running(key="") as server, grpc.insecure_channel(server.grpc) as channel:
        call(services.CentrifugoApiStub(channel), "Publish", metadata=(), channel="recov:x", data=b"1")
        assert "grpc_api.key" in server.log()


def test_a_key_is_exchanged_by_a_reload():
    with running() as server, grpc.insecure_channel(server.grpc) as channel:
        stub = services.CentrifugoApiStub(channel)
        settings = json.loads(server.file.read_text())
        settings["grpc_api"]["key"] = "the-next-key-of-sixteen-bytes"
        since = server.mark()
        server.file.write_text(json.dumps(settings))
        server.hang_up()
        assert server.await_log("configuration reloaded", since)
        assert refused(stub.Info, api.InfoRequest(), metadata=KEY).code() == Code.UNAUTHENTICATED
        call(stub, "Info", metadata=(("authorization", "apikey the-next-key-of-sixteen-bytes"),))


# What goes wrong.

def transport_error(stub, **more):
    request = api.HistoryRequest(channel="nope:x")
    failure = refused(stub.History, request, **more)
    details = [value for name, value in failure.trailing_metadata() if name == "grpc-status-details-bin"]
    # google.rpc.Status: code, message, and an Any with the error.
    assert len(details) == 1 and b"type.googleapis.com/centrifugal.centrifugo.api.Error" in details[0]
    assert api.Error(code=102, message="unknown channel").SerializeToString() in details[0]
    return failure.code(), failure.details()


def test_the_transport_error_mode(stub):
    expected = (Code.NOT_FOUND, "unknown channel")
    assert transport_error(stub, metadata=(*KEY, ("x-centrifugo-error-mode", "transport"))) == expected
    with running(error_mode="transport") as server, grpc.insecure_channel(server.grpc) as channel:
        other = services.CentrifugoApiStub(channel)
        assert transport_error(other, metadata=(*KEY, ("x-centrifugo-error-mode", "default"))) == expected
        call(other, "Info")


def raw_call(server, method, message, metadata=KEY, **more):
    with grpc.insecure_channel(server.grpc) as channel:
        bytes_ = lambda message: message
        unary = channel.unary_unary(method, request_serializer=bytes_, response_deserializer=bytes_)
        return unary(message, timeout=TIMEOUT, metadata=metadata, **more)


def test_what_is_not_there(server):
    failure = refused(lambda **_: raw_call(server, f"/{SERVICE}/Nope", b""))
    assert (failure.code(), failure.details()) == (Code.UNIMPLEMENTED, f"unknown method Nope for service {SERVICE}")
    failure = refused(lambda **_: raw_call(server, "/a.B/Publish", b""))
    assert (failure.code(), failure.details()) == (Code.UNIMPLEMENTED, "unknown service a.B")


def test_bad_requests(server):
    assert refused(lambda **_: raw_call(server, f"/{SERVICE}/Publish", b"\xff\xff\xff")).code() == Code.INTERNAL
    packed = lambda **_: raw_call(server, f"/{SERVICE}/Publish", b"\x0a\xe8\x07" + b"x" * 1000, compression=grpc.Compression.Gzip)
    assert refused(packed).code() == Code.UNIMPLEMENTED
    # A field that is not known is left out.
    assert raw_call(server, f"/{SERVICE}/Publish", b"\x0a\x07recov:u\x12\x011\xa2\x06\x01x")
    assert httpx.get(f"{server.http}/api").status_code == 405


def test_the_size_limit():
    with running(max_receive_message_size=200) as server:
        big = api.PublishRequest(channel="recov:x", data=b"1" * 300).SerializeToString()
        failure = refused(lambda **_: raw_call(server, f"/{SERVICE}/Publish", big))
        assert failure.code() == Code.RESOURCE_EXHAUSTED and "larger than max" in failure.details()
        assert server.api("history", channel="recov:x")["offset"] == 0
    with running() as server:
        data = lambda size: api.PublishRequest(channel="recov:x", data=b'"' + b"x" * size + b'"').SerializeToString()
        assert refused(lambda **_: raw_call(server, f"/{SERVICE}/Publish", data(5 << 20))).code() == Code.RESOURCE_EXHAUSTED
        assert raw_call(server, f"/{SERVICE}/Publish", data(3 << 20))


def test_a_thousand_calls_at_a_time(server, stub):
    calls = [
        stub.Publish.future(api.PublishRequest(channel="room:load", data=b"%d" % number), timeout=TIMEOUT, metadata=KEY)
        for number in range(2_000)
    ]
    assert all(not one.result().HasField("error") for one in calls)


# TLS.

def test_tls_and_client_certificates():
    certificate, key = make_certificate()
    named = (("grpc.ssl_target_name_override", "localhost"),)
    with running(tls={"enabled": True, "cert_pem": certificate, "key_pem": key}) as server:
        trust = grpc.ssl_channel_credentials(certificate.encode())
        with grpc.secure_channel(server.grpc, trust, named) as channel:
            call(services.CentrifugoApiStub(channel), "Publish", channel="recov:tls", data=b"1")
        assert server.api("history", channel="recov:tls")["offset"] == 1
        assert refused(lambda **_: raw_call(server, f"/{SERVICE}/Info", b"")).code() == Code.UNAVAILABLE
    authority = make_certificate(authority=True)
    issued, its_key = make_certificate(authority)
    with running(key="", tls={"enabled": True, "cert_pem": certificate, "key_pem": key, "client_ca_pem": authority[0]}) as server:
        own = grpc.ssl_channel_credentials(certificate.encode(), its_key.encode(), issued.encode())
        with grpc.secure_channel(server.grpc, own, named) as channel:
            call(services.CentrifugoApiStub(channel), "Info", metadata=())
        with grpc.secure_channel(server.grpc, trust, named) as channel:
            stub = services.CentrifugoApiStub(channel)
            assert refused(stub.Info, api.InfoRequest()).code() == Code.UNAVAILABLE


# The services beside it.

def ask(server, *questions, service="grpc.reflection.v1.ServerReflection"):
    with grpc.insecure_channel(server.grpc) as channel:
        call_ = channel.stream_stream(
            f"/{service}/ServerReflectionInfo",
            request_serializer=reflection.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection.ServerReflectionResponse.FromString,
        )
        requests = [reflection.ServerReflectionRequest(**question) for question in questions]
        return list(call_(iter(requests), timeout=TIMEOUT))


def test_reflection_has_the_schema(server):
    listed, file, missing = ask(
        server, {"list_services": ""}, {"file_containing_symbol": SERVICE + ".Publish"}, {"file_by_filename": "no.proto"}
    )
    names = [one.name for one in listed.list_services_response.service]
    assert names == [SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    told = descriptor_pb2.FileDescriptorProto.FromString(file.file_descriptor_response.file_descriptor_proto[0])
    own = descriptor_pb2.FileDescriptorProto()
    api.DESCRIPTOR.CopyToProto(own)
    # Names of fields in JSON are there by one compiler, and not by the other.
    assert (told.package, [m.name for m in told.message_type]) == (own.package, [m.name for m in own.message_type])
    fields = lambda file: [(m.name, [(f.name, f.number, f.type, f.label, f.type_name) for f in m.field]) for m in file.message_type]
    assert fields(told) == fields(own)
    assert missing.error_response.error_code == 5
    assert len(ask(server, {"list_services": ""}, service="grpc.reflection.v1alpha.ServerReflection")) == 1


def test_services_that_are_not_enabled():
    with running(extra={"health": {"enabled": False}}) as server, grpc.insecure_channel(server.grpc) as channel:
        probe = health_services.HealthStub(channel)
        assert refused(probe.Check, health.HealthCheckRequest()).code() == Code.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError) as raised:
            ask(server, {"list_services": ""})
        assert raised.value.code() == Code.UNIMPLEMENTED


def test_health_of_a_service_that_is_not_there(server):
    with grpc.insecure_channel(server.grpc) as channel:
        probe = health_services.HealthStub(channel)
        assert refused(probe.Check, health.HealthCheckRequest(service="a.B")).code() == Code.NOT_FOUND
        watch = probe.Watch(health.HealthCheckRequest(service="a.B"), timeout=TIMEOUT)
        assert next(watch).status == health.HealthCheckResponse.SERVICE_UNKNOWN


def test_a_stop_answers_what_is_under_way():
    with running() as server, grpc.insecure_channel(server.grpc) as channel:
        stub = services.CentrifugoApiStub(channel)
        watch = health_services.HealthStub(channel).Watch(health.HealthCheckRequest(), timeout=TIMEOUT)
        assert next(watch).status == health.HealthCheckResponse.SERVING
        answered, ended = [], []

        def publish():
            """Publishes until a call fails, and notes how: anything but a status is a failure of the test."""
            try:
                while True:
                    call(stub, "Publish", channel="room:stop", data=b"1")
                    answered.append(1)
            except grpc.RpcError as failure:
                ended.append((failure.code(), failure.details()))
            except BaseException as failure:
                ended.append(failure)

        threads = [threading.Thread(target=publish) for _ in range(8)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while len(answered) < 200 and not ended and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(answered) >= 200 and not ended, ended
        server.terminate()
        rest = []
        with contextlib.suppress(grpc.RpcError):
            rest = [one.status for one in watch]
        for thread in threads:
            thread.join(3 * TIMEOUT)
        assert not any(thread.is_alive() for thread in threads), "a call without an end"
        # Calls that had begun are answered, and so are those that the server had before its clients knew of the stop. The
        # next one finds no server.
        assert [one[0] if isinstance(one, tuple) else one for one in ended] == [Code.UNAVAILABLE] * len(threads), ended
        assert all(status == health.HealthCheckResponse.NOT_SERVING for status in rest)
        deadline = time.monotonic() + 10
        while server.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not server.alive(), "an open stream holds up the stop"


# The manual.

def test_the_manual(tmp_path):
    chapter = (ROOT / "docs/manual/grpc.md").read_text()
    block = lambda mark: chapter.split(f"<!-- {mark} -->\n```")[1].split("\n", 1)[1].split("```")[0]
    settings = json.loads(block("config: grpc"))
    port = free_port()
    settings["grpc_api"]["port"] = port
    with Server({**settings, "http_api": {"key": API_KEY}}) as server:
        code = block("grpc: python").replace("localhost:10000", f"127.0.0.1:{port}")
        schema = str(ROOT / "crates/server/proto")
        out = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": schema}, capture_output=True, text=True, timeout=30)
        assert out.returncode == 0 and out.stdout.startswith("published"), out.stderr
        assert server.alive()
