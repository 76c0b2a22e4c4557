"""Every method of the server API through the official library, sync and async, its effect seen through another door."""
import asyncio
import inspect
import itertools
import time
import typing

import pytest
from cent import (
    AsyncClient,
    BatchRequest,
    BlockUserRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentTransportError,
    CentUnauthorizedError,
    ChannelsRequest,
    Client,
    ConnectionsRequest,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    InvalidateUserTokensRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    RevokeTokenRequest,
    StreamPosition,
    SubscribeRequest,
    UnblockUserRequest,
    UnsubscribeRequest,
)

from server import API_KEY
from wire import Raw, jwt

serial = itertools.count(1)
# The methods that tests called, through each of the two clients.
called = {"sync": set(), "async": set()}


def unique(prefix):
    return f"{prefix}{next(serial)}-{time.monotonic_ns()}"


class AsyncDoor:
    """The async client behind the sync client's methods, so that each scenario is written once."""

    def __init__(self, url, key):
        self.url, self.key = url, key

    def __getattr__(self, method):
        def call(request):
            called["async"].add(method)

            async def run():
                client = AsyncClient(self.url, self.key)
                try:
                    return await getattr(client, method)(request)
                finally:
                    await client.close()

            return asyncio.run(run())

        return call


class SyncDoor:
    """The sync client; it too writes down which of its methods were called."""

    def __init__(self, url, key):
        self.client = Client(url, key)

    def __getattr__(self, method):
        called["sync"].add(method)
        return getattr(self.client, method)


@pytest.fixture(params=[SyncDoor, AsyncDoor], ids=["sync", "async"])
def api(request, server):
    return request.param(f"{server.http}/api", API_KEY)


@pytest.fixture
def watcher(server):
    """A connection of its own user; `watcher.user` and `watcher.client` name it."""
    with Raw(server.port) as raw:
        raw.user = unique("user-")
        raw.client = raw.login({"sub": raw.user})["connect"]["client"]
        yield raw


def listen(raw, channel, number=2):
    raw.send_json({"id": number, "subscribe": {"channel": channel}})
    # Its own join on an earlier channel may come first.
    while "id" not in (reply := raw.next()):
        pass
    assert reply["id"] == number and "subscribe" in reply, reply
    return reply["subscribe"]


def push(raw, kind):
    """The next push of a kind; joins and leaves in between are passed over."""
    while True:
        got = raw.next()
        assert isinstance(got, dict), f"closed: {got}"
        if kind in got.get("push", {}):
            return got["push"][kind]


def test_publish(api, watcher):
    channel = unique("recov:")
    listen(watcher, channel)
    result = api.publish(PublishRequest(channel=channel, data={"n": 1}, tags={"a": "b"}))
    assert result.offset == 1 and result.epoch
    pub = push(watcher, "pub")
    assert pub.pop("epoch", result.epoch) == result.epoch
    assert pub == {"data": {"n": 1}, "offset": 1, "tags": {"a": "b"}}
    api.publish(PublishRequest(channel=channel, data={"n": 2}, skip_history=True))
    assert push(watcher, "pub")["data"] == {"n": 2}
    assert api.history(HistoryRequest(channel=channel, limit=10)).offset == 1
    first = api.publish(PublishRequest(channel=channel, data={"n": 3}, idempotency_key="k"))
    again = api.publish(PublishRequest(channel=channel, data={"n": 3}, idempotency_key="k"))
    assert (first.offset, first.epoch) == (again.offset, again.epoch) == (2, result.epoch)
    assert push(watcher, "pub")["offset"] == 2
    api.publish(PublishRequest(channel=channel, data={"n": 4}))
    assert push(watcher, "pub")["offset"] == 3


def test_broadcast(api, watcher):
    channels = [unique("room:"), unique("recov:")]
    for number, channel in enumerate(channels):
        listen(watcher, channel, number + 2)
    result = api.broadcast(BroadcastRequest(channels=[*channels, "nowhere:x"], data={"n": 1}))
    assert [response.error.code if response.error else None for response in result.responses] == [None, None, 102]
    assert result.responses[1].result.offset == 1
    assert [push(watcher, "pub")["data"] for _ in channels] == [{"n": 1}, {"n": 1}]


def test_subscribe_and_unsubscribe(api, server, watcher):
    channel = unique("recov:")
    server.api("publish", channel=channel, data={"n": 1})
    api.subscribe(SubscribeRequest(user=watcher.user, channel=channel, data={"hello": 1}))
    got = push(watcher, "subscribe")
    assert got["data"] == {"hello": 1} and got["recoverable"] is True
    server.api("publish", channel=channel, data={"n": 2})
    assert push(watcher, "pub")["data"] == {"n": 2}
    api.unsubscribe(UnsubscribeRequest(user=watcher.user, channel=channel))
    assert push(watcher, "unsubscribe") == {"code": 2000, "reason": "server unsubscribe"}


def test_subscribe_touches_only_the_named_connection(api, server, watcher):
    with Raw(server.port) as other:
        other.login({"sub": watcher.user})
        channel = unique("room:")
        api.subscribe(SubscribeRequest(user=watcher.user, channel=channel, client=watcher.client))
        push(watcher, "subscribe")
        assert server.api("presence_stats", channel=channel) == {"num_clients": 1, "num_users": 1}
        assert list(server.api("presence", channel=channel)["presence"]) == [watcher.client]


def test_disconnect(api, server, watcher):
    with Raw(server.port) as spared:
        client = spared.login({"sub": watcher.user})["connect"]["client"]
        api.disconnect(DisconnectRequest(user=watcher.user, whitelist=[client]))
        assert watcher.until_close()[-1] == ("close", 3503, "force disconnect")
        listen(spared, unique("room:"))
        api.disconnect(DisconnectRequest(user=watcher.user, disconnect=Disconnect(code=4001, reason="bye")))
        assert spared.until_close()[-1] == ("close", 4001, "bye")


def test_refresh(api, server, watcher):
    api.refresh(RefreshRequest(user=watcher.user, expired=True))
    assert watcher.until_close()[-1] == ("close", 3005, "connection expired")
    with Raw(server.port) as other:
        other.login({"sub": watcher.user})
        api.refresh(RefreshRequest(user=watcher.user, expire_at=int(time.time()) + 100))
        refresh = push(other, "refresh")
        assert refresh["expires"] is True and 98 <= refresh["ttl"] <= 100


def test_presence_and_stats(api, server, watcher):
    channel = unique("room:")
    listen(watcher, channel)
    with Raw(server.port) as other:
        client = other.login({"sub": watcher.user, "info": {"name": "Ada"}})["connect"]["client"]
        listen(other, channel)
        people = api.presence(PresenceRequest(channel=channel)).presence
        assert {name: (info.user, info.client, info.conn_info) for name, info in people.items()} == {
            watcher.client: (watcher.user, watcher.client, None),
            client: (watcher.user, client, {"name": "Ada"}),
        }
        stats = api.presence_stats(PresenceStatsRequest(channel=channel))
        assert (stats.num_clients, stats.num_users) == (2, 1)


def test_history_and_history_remove(api, watcher):
    channel = unique("recov:")
    position = listen(watcher, channel)
    watcher.send_json({"id": 3, "publish": {"channel": channel, "data": {"n": 1}}})
    assert push(watcher, "pub")["data"] == {"n": 1}
    for n in range(2, 6):
        api.publish(PublishRequest(channel=channel, data={"n": n}))
    page = api.history(HistoryRequest(channel=channel, limit=-1))
    assert [(one.offset, one.data["n"]) for one in page.publications] == [(n, n) for n in range(1, 6)]
    assert page.publications[0].info.user == watcher.user and page.publications[1].info is None
    assert (page.offset, page.epoch) == (5, position["epoch"])
    since = StreamPosition(offset=4, epoch=page.epoch)
    assert [one.offset for one in api.history(HistoryRequest(channel=channel, limit=2, since=since, reverse=True)).publications] == [3, 2]
    with pytest.raises(CentApiResponseError) as refused:
        api.history(HistoryRequest(channel=channel, limit=1, since=StreamPosition(offset=4, epoch="other")))
    assert refused.value.code == 112

    api.history_remove(HistoryRemoveRequest(channel=channel))
    watcher.send_json({"id": 4, "history": {"channel": channel, "limit": 10}})
    while "id" not in (reply := watcher.next()) or reply["id"] != 4:
        pass
    assert reply["history"] == {"publications": [], "epoch": page.epoch, "offset": 5}


def test_channels(api, watcher):
    channel = unique("room:")
    listen(watcher, channel)
    found = api.channels(ChannelsRequest(pattern=f"{channel}*")).channels
    assert {name: info.num_clients for name, info in found.items()} == {channel: 1}
    assert channel in api.channels(ChannelsRequest()).channels


def test_info(api, server, watcher):
    listen(watcher, unique("room:"))
    # A node may tell its figures every few seconds only.
    deadline = time.monotonic() + 20
    while True:
        (node,) = api.info(InfoRequest()).nodes
        assert node.uid and node.version
        if node.num_clients >= 1 and node.num_users >= 1 and node.num_channels >= 1:
            return
        assert time.monotonic() < deadline, node
        time.sleep(0.1)


def test_batch(api, watcher):
    channel = unique("recov:")
    listen(watcher, channel)
    requests = [PublishRequest(channel=channel, data={"n": n}) for n in (1, 2)]
    requests += [HistoryRequest(channel=channel, limit=0), PublishRequest(channel="nowhere:x", data={})]
    try:
        replies = api.batch(BatchRequest(requests=requests[:3])).replies
    except CentApiResponseError as refused:
        pytest.fail(f"refused: {refused}")
    assert [reply.offset for reply in replies] == [1, 2, 2]
    assert [push(watcher, "pub")["data"]["n"] for _ in range(2)] == [1, 2]


def connected(server, **claims):
    """A connection with these claims, or the code that it was refused with."""
    raw = Raw(server.port)
    first = raw.login(claims)
    if isinstance(first, tuple):
        raw.close()
        return first[1]
    return raw


def test_block_user_and_unblock_user(api, server, watcher, only_spinward):
    api.block_user(BlockUserRequest(user=watcher.user))
    assert watcher.until_close()[-1][1] == 3507
    assert connected(server, sub=watcher.user) == 3507
    with connected(server, sub=unique("user-")):
        pass
    api.unblock_user(UnblockUserRequest(user=watcher.user))
    with connected(server, sub=watcher.user):
        pass
    api.block_user(BlockUserRequest(user=watcher.user, expire_at=int(time.time()) - 1))
    with connected(server, sub=watcher.user):
        pass


def test_revoke_token(api, server, watcher, only_spinward):
    jti = unique("jti-")
    with connected(server, sub=watcher.user, jti=jti) as taken:
        api.revoke_token(RevokeTokenRequest(uid=jti, expire_at=int(time.time()) + 600))
        assert taken.until_close()[-1][1] == 3500
    assert connected(server, sub=watcher.user, jti=jti) == 3500
    with connected(server, sub=watcher.user, jti=unique("jti-")):
        pass
    listen(watcher, unique("room:"))


def test_invalidate_user_tokens(api, server, watcher, only_spinward):
    now = int(time.time())
    channel = unique("room:")
    with connected(server, sub=watcher.user, iat=now - 60) as old, connected(server, sub=watcher.user, iat=now) as new:
        new.send_json({"id": 2, "subscribe": {"channel": channel, "token": jwt({"sub": watcher.user, "channel": channel, "iat": now - 60})}})
        while "id" not in (reply := new.next()):
            pass
        assert "subscribe" in reply, reply
        api.invalidate_user_tokens(InvalidateUserTokensRequest(user=watcher.user, issued_before=now - 30, channel=channel))
        assert push(new, "unsubscribe")["code"] == 2501
        # Connection tokens are not meant while a channel is named.
        listen(old, unique("room:"))
        api.invalidate_user_tokens(InvalidateUserTokensRequest(user=watcher.user, issued_before=now - 30))
        assert old.until_close()[-1][1] == 3500
        listen(new, unique("room:"), 3)
    assert connected(server, sub=watcher.user, iat=now - 60) == 3500


# Methods of Centrifugo's paid edition that are not here.
ABSENT = {
    "cancel_push", "delete_user_status", "device_list", "device_register", "device_remove",
    "device_topic_list", "device_topic_update", "device_update", "get_user_status", "send_push_notification",
    "update_push_status", "update_user_status", "user_topic_list", "user_topic_update",
}


@pytest.mark.parametrize("method", sorted(ABSENT))
def test_what_is_not_here_says_so(api, method):
    asked = typing.get_type_hints(getattr(Client, method))["request"]
    with pytest.raises(CentTransportError) as refused:
        getattr(api, method)(asked.model_construct())
    assert refused.value.status_code == 404


def test_connections(api, server, only_spinward):
    with Raw(server.port) as client:
        id = client.login({"sub": "listed", "labels": {"plan": "free"}})["connect"]["client"]
        listed = api.connections(ConnectionsRequest(user="listed", expression=""))
        assert {one: info.user for one, info in listed.connections.items()} == {id: "listed"}


def test_errors_come_with_their_code(api):
    for request, code in [
        (PublishRequest(channel="nowhere:x", data={}), 102),
        (PublishRequest(channel="", data={}), 107),
    ]:
        with pytest.raises(CentApiResponseError) as refused:
            api.publish(request)
        assert refused.value.code == code
    with pytest.raises(CentApiResponseError) as refused:
        api.history(HistoryRequest(channel=unique("room:"), limit=1))
    assert refused.value.code == 108


@pytest.mark.parametrize("door", [SyncDoor, AsyncDoor], ids=["sync", "async"])
def test_a_wrong_key_is_refused(server, door):
    for key in ("wrong", ""):
        with pytest.raises(CentUnauthorizedError):
            door(f"{server.http}/api", key).info(InfoRequest())


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_no_method_is_left_out(request, client, only_spinward):
    if request.config.option.keyword or any("::" in name for name in request.config.args):
        pytest.skip("only some tests of this file were asked for")
    methods = {name for name, _ in inspect.getmembers(client, inspect.isfunction) if not name.startswith("_")}
    assert called["sync" if client is Client else "async"] == methods - {"close"}
