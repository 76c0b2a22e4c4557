"""The unidirectional gRPC stream, with `grpcio`, with TLS and without. Where Spinward differs from Centrifugo v6.9, the test says so."""
import contextlib
import threading
import time

import grpc
import pytest

from server import IS_SPINWARD, Server, config, free_port
from webtransport import certificate as make_certificate
from wire import Raw, jwt

protos, services = grpc.protos_and_services("unistream.proto")

TIMEOUT = 10


@contextlib.contextmanager
def running(client=None, **options):
    port = free_port()
    settings = config(client=client)
    settings["uni_grpc"] = {"enabled": True, "address": "127.0.0.1", "port": port, **options}
    with Server(settings) as server:
        server.grpc = f"127.0.0.1:{port}"
        server.certificate = options.get("tls", {}).get("cert_pem")
        yield server


CERTIFICATE, KEY = make_certificate()


def running_by(kind, **more):
    return running(**more, **({"tls": {"enabled": True, "cert_pem": CERTIFICATE, "key_pem": KEY}} if kind == "tls" else {}))


kinds = pytest.mark.parametrize("kind", ["plain", "tls"])


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(request):
    with running_by(request.param) as server:
        yield server


def connection(server, options=()):
    if server.certificate is None:
        return grpc.insecure_channel(server.grpc, options)
    trust = grpc.ssl_channel_credentials(server.certificate.encode())
    return grpc.secure_channel(server.grpc, trust, (("grpc.ssl_target_name_override", "localhost"), *options))


@contextlib.contextmanager
def consume(server, metadata=None, **request):
    with connection(server) as channel:
        stub = services.CentrifugoUniStreamStub(channel)
        yield stub.Consume(protos.ConnectRequest(**request), timeout=TIMEOUT, metadata=metadata)


def token(user="7", **claims):
    return jwt({"sub": user, **claims})


def publish(server, channel, data):
    return server.api("publish", channel=channel, data=data)


def test_pushes_of_server_side_subscriptions(server):
    with consume(server, token=token(channels=["recov:a", "room:b"])) as stream:
        connect = next(stream).connect
        assert len(connect.client) == 36 and connect.session and connect.ping == 25 and not connect.pong
        assert set(connect.subs) == {"recov:a", "room:b"}
        assert connect.subs["recov:a"].recoverable and connect.subs["recov:a"].epoch
        published = publish(server, "recov:a", {"n": 1})
        # Its own join comes in between, in the other channel.
        pushes = [next(stream), next(stream)]
        push = next(push for push in pushes if push.HasField("pub"))
        assert (push.channel, push.pub.data, push.pub.offset) == ("recov:a", b'{"n":1}', published["offset"])
        assert any(push.channel == "room:b" and push.join.info.user == "7" for push in pushes)
        server.api("subscribe", user="7", channel="recov:late")
        push = next(stream)
        assert push.channel == "recov:late" and push.subscribe.recoverable
        server.api("unsubscribe", user="7", channel="recov:late")
        push = next(stream)
        assert (push.channel, push.unsubscribe.code) == ("recov:late", 2000)


def test_many_streams_of_one_connection(server):
    with connection(server) as channel:
        stub = services.CentrifugoUniStreamStub(channel)
        streams = [
            stub.Consume(protos.ConnectRequest(token=token(str(n), channels=["recov:many"])), timeout=TIMEOUT)
            for n in range(150)
        ]
        for stream in streams:
            assert next(stream).connect.client
        publish(server, "recov:many", "x")
        for stream in streams:
            assert next(stream).pub.data == b'"x"'
        # One that ends takes no other with it.
        streams[0].cancel()
        publish(server, "recov:many", "y")
        assert next(streams[1]).pub.data == b'"y"'


@kinds
def test_a_stream_that_is_not_read_costs_no_other_of_its_connection(kind):
    # Otherwise gRPC reads megabytes ahead.
    small = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536)]
    client = {"queue_max_size": 256 << 10}
    with running_by(kind, client=client) as server, connection(server, small) as channel:
        stub = services.CentrifugoUniStreamStub(channel)
        request = protos.ConnectRequest(token=token(channels=["tags:slow"]))
        deaf, witness = stub.Consume(request, timeout=TIMEOUT), stub.Consume(request, timeout=TIMEOUT)
        assert next(deaf).connect.client and next(witness).connect.client
        for number in range(60):
            publish(server, "tags:slow", {"n": number, "much": "x" * 50_000})
            assert next(witness).pub.data.startswith(b'{"n":%d,' % number)
        last = None
        try:
            for push in deaf:
                last = push
        except grpc.RpcError as error:
            # The goodbye itself found no room.
            assert error.code() == grpc.StatusCode.UNAVAILABLE
        else:
            assert last.disconnect.code == 3008
        publish(server, "tags:slow", "still here")
        assert next(witness).pub.data == b'"still here"'


def test_recovery(server):
    with consume(server, token=token(channels=["recov:back"])) as stream:
        sub = next(stream).connect.subs["recov:back"]
    for number in range(3):
        publish(server, "recov:back", number)
    position = protos.SubscribeRequest(recover=True, epoch=sub.epoch, offset=sub.offset)
    with consume(server, token=token(channels=["recov:back"]), subs={"recov:back": position}) as stream:
        sub = next(stream).connect.subs["recov:back"]
        assert sub.recovered and sub.was_recovering
        assert [publication.data for publication in sub.publications] == [b"0", b"1", b"2"]


def test_a_disconnect_is_a_push_and_the_call_succeeds(server):
    with consume(server, token=token("out")) as stream:
        assert next(stream).connect.client
        server.api("disconnect", user="out")
        last = list(stream)
        assert [(push.disconnect.code, push.disconnect.reason) for push in last] == [(3503, "force disconnect")]
        assert stream.code() == grpc.StatusCode.OK


@pytest.mark.parametrize(
    "request_, code",
    [
        ({"token": "x.y.z"}, 3500),
        ({}, 3501),
        ({"token": jwt({"sub": "7", "exp": 1})}, 3005),
    ],
    ids=["wrong token", "no token", "expired"],
)
def test_a_failed_login(server, request_, code):
    with consume(server, **request_) as stream:
        assert [push.disconnect.code for push in stream] == [code]
        assert stream.code() == grpc.StatusCode.OK


def test_a_stream_counts_as_a_client(server):
    with consume(server, token=token("seen", channels=["room:seen"])) as stream:
        next(stream)
        clients = server.api("presence", channel="room:seen")["presence"]
        assert [client["user"] for client in clients.values()] == ["seen"]
        stream.cancel()
    with Raw(server.port) as raw:
        raw.login({"sub": "other", "channels": ["room:seen"]})
        deadline = threading.Event()
        for _ in range(100):
            if "seen" not in str(server.api("presence", channel="room:seen")):
                return
            deadline.wait(0.05)
    raise AssertionError("it is still there")


def raw_call(server, method, message, serialize=lambda message: message, **more):
    with connection(server) as channel:
        call = channel.unary_stream(method, request_serializer=serialize, response_deserializer=lambda got: got)
        got = call(message, timeout=TIMEOUT, **more)
        try:
            return list(got), None
        except grpc.RpcError as error:
            return error.code(), error.details()


CONSUME = "/centrifugal.centrifugo.unistream.CentrifugoUniStream/Consume"


def test_what_is_not_there(server):
    code = grpc.StatusCode.UNIMPLEMENTED
    assert raw_call(server, "/a.B/C", b"") == (code, "unknown service a.B")
    service = "centrifugal.centrifugo.unistream.CentrifugoUniStream"
    assert raw_call(server, f"/{service}/Nothing", b"") == (code, f"unknown method Nothing for service {service}")


def test_bad_requests(server):
    assert raw_call(server, CONSUME, b"\x0a\xff")[0] == grpc.StatusCode.INTERNAL
    code, _ = raw_call(server, CONSUME, b"\x0a\xe8\x07" + b"x" * 1000, compression=grpc.Compression.Gzip)
    # Centrifugo v6.9 takes it, and refuses the token.
    assert code == grpc.StatusCode.UNIMPLEMENTED or not IS_SPINWARD


def test_the_size_limit():
    with running(max_receive_message_size=200) as server:
        code, details = raw_call(server, CONSUME, b"\x12" + bytes([199, 1]) + b"x" * 199)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max (202 vs. 200)" in details
        with consume(server, token="x.y.z") as stream:
            assert [push.disconnect.code for push in stream] == [3500]
    with running() as server:
        assert raw_call(server, CONSUME, b"x" * ((4 << 20) + 1))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_token_in_the_metadata():
    with running(client={"connect_token_http_header": "X-Token"}) as server:
        with consume(server, metadata=(("x-token", token("meta")),)) as stream:
            if IS_SPINWARD:
                assert next(stream).connect.client
                assert [push.disconnect.code for push in end(server, "meta", stream)] == [3503]


def end(server, user, stream):
    server.api("disconnect", user=user)
    return list(stream)


def test_without_tls_there_is_nothing():
    with running_by("tls") as server:
        server.certificate = None
        assert raw_call(server, CONSUME, b"")[0] == grpc.StatusCode.UNAVAILABLE


def test_a_large_message_and_a_burst(server):
    with consume(server, token=token("much", channels=["tags:much"])) as stream:
        assert next(stream).connect.client
        large = "x" * 1_000_000
        publish(server, "tags:much", large)
        assert next(stream).pub.data == b'"%s"' % large.encode()
        for start in range(0, 5000, 500):
            commands = [{"publish": {"channel": "tags:much", "data": n}} for n in range(start, start + 500)]
            server.api("batch", commands=commands)
        assert [int(next(stream).pub.data) for _ in range(5000)] == list(range(5000))


@pytest.mark.parametrize("code", [3011, 4100, 4501])
def test_codes_of_a_disconnect(server, code):
    user = f"code{code}"
    with consume(server, token=token(user)) as stream:
        assert next(stream).connect.client
        server.api("disconnect", user=user, disconnect={"code": code, "reason": "because"})
        assert [(push.disconnect.code, push.disconnect.reason) for push in stream] == [(code, "because")]


def test_a_token_that_has_expired_and_one_that_is_renewed(server):
    exp = int(time.time()) + 2
    with consume(server, token=token("renewed", exp=exp)) as renewed, consume(server, token=token("old", exp=exp)) as old:
        assert next(renewed).connect.client and next(old).connect.client
        server.api("refresh", user="renewed", expire_at=exp + 60)
        refresh = next(renewed).refresh
        assert refresh.expires and refresh.ttl > 50
        assert [push.disconnect.code for push in old] == [3005]
        server.api("disconnect", user="renewed")
        assert [push.disconnect.code for push in renewed] == [3503]


def test_a_client_certificate():
    certificate, key = CERTIFICATE, KEY
    named = (("grpc.ssl_target_name_override", "localhost"),)
    trust = grpc.ssl_channel_credentials(certificate.encode())
    authority = make_certificate(authority=True)
    issued, its_key = make_certificate(authority)
    with running(tls={"enabled": True, "cert_pem": certificate, "key_pem": key, "client_ca_pem": authority[0]}) as server:
        own = grpc.ssl_channel_credentials(certificate.encode(), its_key.encode(), issued.encode())
        for credentials, admitted in ((own, True), (trust, False)):
            with grpc.secure_channel(server.grpc, credentials, named) as channel:
                stub = services.CentrifugoUniStreamStub(channel)
                stream = stub.Consume(protos.ConnectRequest(token=token()), timeout=TIMEOUT)
                if admitted:
                    assert next(stream).connect.client
                else:
                    with pytest.raises(grpc.RpcError) as refused:
                        next(stream)
                    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_pings_are_empty_pushes_with_an_interval_of_their_own():
    client = {"ping_interval": "9s", "pong_timeout": "2s"}
    with running(client=client) as server, consume(server, token=token()) as stream:
        assert next(stream).connect.ping == 25
    if IS_SPINWARD:
        with running(client=client, ping_interval="1s") as server, consume(server, token=token()) as stream:
            assert next(stream).connect.ping == 1
            assert next(stream) == protos.Push()


@kinds
def test_a_stop_ends_the_streams(kind):
    with running_by(kind) as server, consume(server, token=token()) as stream:
        assert next(stream).connect.client
        server.terminate()
        if IS_SPINWARD:
            # Centrifugo v6.9 stops this port without a word to its clients.
            assert [push.disconnect.code for push in stream] == [3001]
            assert stream.code() == grpc.StatusCode.OK
