"""What logging in with a token does, seen on the wire: each acceptance with its mirror."""
import base64
import json
import time

import pytest

from server import IS_SPINWARD, SECRET, Server, config
from wire import PROTOBUF, Raw, b64u, frame, jwt


def connect(server, token):
    """The connection and what the server said first: a reply, or the close."""
    raw = Raw(server.port)
    command = {"id": 1, "connect": {"token": token} if token is not None else {}}
    raw.send_json(command)
    return raw, raw.next()


def answer(server, token):
    raw, first = connect(server, token)
    raw.close()
    return first


def later(seconds):
    return int(time.time()) + seconds


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
def test_the_simplest_token(server, alg):
    reply = answer(server, jwt({"sub": "42"}, alg=alg))["connect"]
    assert reply["client"]
    assert "expires" not in reply and "ttl" not in reply


def test_exp_gives_expires_and_ttl(server):
    reply = answer(server, jwt({"sub": "42", "exp": later(300)}))["connect"]
    assert reply["expires"] is True
    assert 298 <= reply["ttl"] <= 300


INVALID = ("close", 3500, "invalid token")


def test_a_wrong_secret_is_refused(server):
    assert answer(server, jwt({"sub": "42"}, key="wrong")) == INVALID


def test_a_changed_payload_is_refused(server):
    head, _, tail = jwt({"sub": "42"}).split(".")
    assert answer(server, f"{head}.{b64u(json.dumps({'sub': '1'}).encode())}.{tail}") == INVALID


def test_a_changed_signature_is_refused(server):
    token = jwt({"sub": "42"})
    head, body, tail = token.split(".")
    assert answer(server, f"{head}.{body}.{'A' if tail[0] != 'A' else 'B'}{tail[1:]}") == INVALID
    assert answer(server, f"{head}.{body}.") == INVALID


def test_anonymous_is_refused_without_the_option_and_accepted_with_it(server):
    assert answer(server, None) == ("close", 3501, "bad request")
    with Server(config({"allow_anonymous_connect_without_token": True})) as open_server:
        assert "connect" in answer(open_server, None)
        assert answer(open_server, jwt({"sub": "42"}, key="wrong")) == INVALID, "a failed login is never an anonymous one"


def test_an_empty_sub_is_anonymous_and_can_be_forbidden(server):
    assert "connect" in answer(server, jwt({"sub": ""}))
    assert "connect" in answer(server, jwt({}))
    with Server(config({"disallow_anonymous_connection_tokens": True})) as strict:
        assert answer(strict, jwt({"sub": ""})) == ("close", 3507, "permission denied")
        assert "connect" in answer(strict, jwt({"sub": "42"}))


def test_an_expired_token_is_error_109(server):
    expected = {"id": 1, "error": {"code": 109, "message": "token expired"}}
    assert answer(server, jwt({"sub": "42", "exp": later(-5)})) == expected
    assert answer(server, jwt({"sub": "42", "nbf": later(60)})) == expected


def test_without_exp_the_connection_stays(server):
    raw, first = connect(server, jwt({"sub": "42"}))
    assert "connect" in first
    time.sleep(3.5)
    raw.send_json({"id": 2, "presence_stats": {"channel": "room:stay"}})
    assert raw.next()["id"] == 2
    raw.close()


def test_without_refresh_the_connection_ends_after_the_grace(server):
    token = jwt({"sub": "42", "exp": later(3)})
    raw, first = connect(server, token)
    assert first["connect"]["expires"] is True
    began = time.monotonic()
    assert raw.until_close()[-1] == ("close", 3005, "connection expired")
    took = time.monotonic() - began
    # Two to three seconds of life, one of grace; expiry is looked at once a second.
    assert 2.5 < took < 7.0, took
    assert answer(server, token)["error"]["code"] == 109
    assert "connect" in answer(server, jwt({"sub": "42", "exp": later(60)}))


def test_a_refresh_prolongs_the_connection(server):
    raw, first = connect(server, jwt({"sub": "42", "exp": later(3)}))
    assert first["connect"]["ttl"] <= 3
    raw.send_json({"id": 2, "refresh": {"token": jwt({"sub": "42", "exp": later(60)})}})
    reply = raw.next()
    assert reply["refresh"]["expires"] is True and 58 <= reply["refresh"]["ttl"] <= 60
    time.sleep(5)
    raw.send_json({"id": 3, "presence_stats": {"channel": "room:x"}})
    assert raw.next()["id"] == 3
    raw.close()


def test_a_refresh_that_is_not_valid_changes_nothing_for_the_better(server):
    def refresh(token):
        raw, _ = connect(server, jwt({"sub": "42", "exp": later(60)}))
        with raw:
            raw.send_json({"id": 2, "refresh": {"token": token}})
            return raw.next()

    assert refresh(jwt({"sub": "42", "exp": later(60)}, key="wrong")) == INVALID
    assert refresh(jwt({"sub": "43", "exp": later(60)})) == INVALID
    assert refresh(jwt({"sub": "42", "exp": later(-5)})) == ("close", 3005, "connection expired")


def test_expire_at_overrides_exp(server):
    assert "expires" not in answer(server, jwt({"sub": "42", "exp": later(60), "expire_at": 0}))["connect"]
    assert 28 <= answer(server, jwt({"sub": "42", "exp": later(300), "expire_at": later(30)}))["connect"]["ttl"] <= 30


def test_info_is_seen_by_others_and_not_on_api_publications(server):
    with Raw(server.port) as watcher, Raw(server.port) as other:
        assert "connect" in watcher.login({"sub": "watcher"})
        watcher.send_json({"id": 2, "subscribe": {"channel": "room:info"}})
        assert watcher.next()["id"] == 2
        watcher.next()  # its own join
        client = other.login({"sub": "42", "info": {"name": "Ada"}})["connect"]["client"]
        other.send_json({"id": 2, "subscribe": {"channel": "room:info"}})
        info = {"user": "42", "client": client, "conn_info": {"name": "Ada"}}
        assert watcher.next()["push"] == {"channel": "room:info", "join": {"info": info}}
        assert server.api("presence", channel="room:info")["presence"][client] == info
        other.send_json({"id": 3, "publish": {"channel": "room:info", "data": {"n": 1}}})
        assert watcher.next()["push"]["pub"] == {"data": {"n": 1}, "info": info}
        server.api("publish", channel="room:info", data={"n": 2})
        assert watcher.next()["push"]["pub"] == {"data": {"n": 2}}
        other.close()
        assert watcher.next()["push"] == {"channel": "room:info", "leave": {"info": info}}


def test_b64info_holds_json_or_any_bytes(server):
    encoded = base64.b64encode(b'{"name":"Ada"}').decode()
    with Raw(server.port) as raw:
        client = raw.login({"sub": "42", "b64info": encoded, "info": {"name": "not me"}})["connect"]["client"]
        raw.send_json({"id": 2, "subscribe": {"channel": "room:b64"}})
        raw.next()
        assert server.api("presence", channel="room:b64")["presence"][client]["conn_info"] == {"name": "Ada"}


@pytest.mark.skipif(not IS_SPINWARD, reason="Centrifugo v6.9 embeds such bytes as they are, and so breaks the JSON of others")
def test_any_bytes_in_b64info_leave_json_neighbours_whole(server):
    bytes_ = bytes([0, 255, 34, 10, 123, 128])
    with Raw(server.port) as neighbour, Raw(server.port, PROTOBUF) as other:
        neighbour.login({"sub": "neighbour"})
        neighbour.send_json({"id": 2, "subscribe": {"channel": "room:bytes"}})
        assert neighbour.next()["id"] == 2
        neighbour.next()  # its own join
        token = jwt({"sub": "bytes", "b64info": base64.b64encode(bytes_).decode()}).encode()
        # Command {id: 1, connect: {token}} and Command {id: 2, subscribe: {channel}} of the client protocol.
        other.send(frame(delimited(b"\x08\x01" + field(4, field(1, token))), opcode=2))
        other.send(frame(delimited(b"\x08\x02" + field(5, field(1, b"room:bytes"))), opcode=2))
        join = neighbour.next()["push"]["join"]["info"]
        assert join["user"] == "bytes"
        people = server.api("presence", channel="room:bytes")["presence"].values()
        assert "bytes" in {person["user"] for person in people}
        neighbour.send_json({"id": 3, "presence": {"channel": "room:bytes"}})
        assert len(neighbour.next()["presence"]["presence"]) == 2


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def delimited(message):
    return varint(len(message)) + message


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def test_the_channel_claim_makes_it_a_subscription_token(server):
    assert answer(server, jwt({"sub": "42", "channel": "room:x"})) == INVALID


def test_audience_and_issuer_are_checked_where_configured():
    client = {"token": {"hmac_secret_key": SECRET, "audience": "chat", "issuer": "backend"}}
    with Server(config(client)) as strict:
        assert "connect" in answer(strict, jwt({"sub": "42", "aud": "chat", "iss": "backend"}))
        assert "connect" in answer(strict, jwt({"sub": "42", "aud": ["mail", "chat"], "iss": "backend"}))
        assert answer(strict, jwt({"sub": "42", "aud": "mail", "iss": "backend"})) == INVALID
        assert answer(strict, jwt({"sub": "42", "aud": "chat", "iss": "other"})) == INVALID
        assert answer(strict, jwt({"sub": "42"})) == INVALID


def test_a_previous_secret_is_accepted_while_keys_change():
    client = {"token": {"hmac_secret_key": "new secret", "hmac_previous_secret_key": SECRET}}
    with Server(config(client)) as changing:
        assert "connect" in answer(changing, jwt({"sub": "42"}, key="new secret"))
        assert "connect" in answer(changing, jwt({"sub": "42"}))
        assert answer(changing, jwt({"sub": "42"}, key="other")) == INVALID


class TestOldConfiguration:
    """The form that the first manual shows, kept for Spinward alone."""

    def test_secret_alone_runs_the_page(self, only_spinward):
        with Server({"secret": SECRET}) as old:
            raw, first = connect(old, jwt({"sub": "42"}))
            with raw:
                assert "connect" in first
                raw.send_json({"id": 2, "subscribe": {"channel": "news"}})
                assert raw.next() == {"id": 2, "subscribe": {}}
            assert answer(old, jwt({"sub": "42"}, key="wrong")) == INVALID
            assert answer(old, None)[1] == 3501
            assert old.await_log(r"client\.token\.hmac_secret_key")

    def test_anonymous_admits_anonymous_subscribers(self, only_spinward):
        with Server({"secret": SECRET, "anonymous": True}) as old:
            raw, first = connect(old, jwt({"sub": ""}))
            with raw:
                assert "connect" in first
                raw.send_json({"id": 2, "subscribe": {"channel": "news"}})
                assert raw.next() == {"id": 2, "subscribe": {}}
        with Server({"secret": SECRET}) as old:
            raw, first = connect(old, jwt({"sub": ""}))
            with raw:
                assert "connect" in first
                raw.send_json({"id": 2, "subscribe": {"channel": "news"}})
                assert raw.next()["error"]["code"] == 103
