"""Clients that are moved to other nodes, and clients that wait for their turn."""
import threading
import time

import httpx
import pytest

from server import API_KEY, IS_SPINWARD, Server, config
from wire import Raw

if not IS_SPINWARD:
    pytest.skip("both are ours", allow_module_level=True)


def login(server):
    raw = Raw(server.port)
    assert "connect" in raw.login({"sub": "ann"})
    return raw


def ready(server):
    answer = httpx.get(f"{server.http}/readyz")
    return answer.status_code, answer.json()


def test_a_drain_moves_clients_and_can_be_cancelled():
    with Server(config()) as server:
        client = login(server)
        server.api("drain", notice=1, duration=1)
        again = httpx.post(f"{server.http}/api/drain", json={}, headers={"X-API-Key": API_KEY}).json()
        assert again["error"]["code"] == 107
        status, body = ready(server)
        assert status == 503 and body["failing"][0]["part"] == "drain"
        # In the time of notice it still takes clients.
        late = login(server)
        begin = time.monotonic()
        for one in (client, late):
            assert one.until_close()[-1][1] == 3001
        assert time.monotonic() - begin < 4
        with pytest.raises(AssertionError, match="503"):
            Raw(server.port)
        server.api("drain", cancel=True)
        assert ready(server)[0] == 200
        client = login(server)
        assert server.api("info")["nodes"][0]["num_clients"] == 1
        # It can be drained again, and again be stopped before the end.
        server.api("drain", duration=60)
        assert ready(server)[0] == 503
        server.api("drain", cancel=True)
        assert ready(server)[0] == 200
        client.send_json({"id": 2, "presence_stats": {"channel": "room:a"}})
        assert client.next()["id"] == 2


def test_connections_that_come_at_once_wait_for_their_turn():
    rate, wait = 50, 1
    limits = {"connection_rate_limit": rate, "connection_rate_wait": f"{wait}s"}
    with Server(config(client=limits)) as server:
        begin = time.monotonic()
        taken, refused = [], []

        def attempt():
            try:
                kept.append(Raw(server.port))
                taken.append(time.monotonic() - begin)
            except AssertionError as error:
                assert "503" in str(error)
                refused.append(error)

        kept = []
        threads = [threading.Thread(target=attempt) for _ in range(3 * rate)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # As many as have their turn within the longest wait, and those that came later in the meantime.
        assert rate * wait <= len(taken) <= rate * (wait + 1), len(taken)
        assert refused
        # None before its turn.
        for number, moment in enumerate(sorted(taken)):
            assert moment >= (number - 1) / rate - 0.05, (number, moment)
