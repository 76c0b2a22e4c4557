"""Tokens of five seconds in centrifuge-python, undisturbed and with everything that goes wrong around their end.

Per expiry at most one attempt is refused, no subscription and no publication is lost, and nothing goes round in
circles. The scenarios run side by side: each of them mostly waits.
"""
import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from expiry_client import Followed
from server import Server, config
from test_sdk import Relay, unique, until

# Longer than a token and the grace after it.
PAST_EXPIRY = 7.5
SHORT = {"expired_close_delay": "1s", "expired_sub_close_delay": "1s"}
# A machine under load makes a late refresh, and must not make it a missed one.
LONG = {"expired_close_delay": "25s", "expired_sub_close_delay": "25s"}


class Publishing:
    """Publishes numbers while its block runs; `count` is how many there were."""

    def __init__(self, server, channel):
        self.server, self.channel, self.count, self.running = server, channel, 0, True

    async def __aenter__(self):
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_):
        self.running = False
        await self.task

    async def run(self):
        while self.running:
            self.count += 1
            await asyncio.to_thread(self.server.api, "publish", channel=self.channel, data={"n": self.count})
            await asyncio.sleep(0.25)


async def whole(tally, count):
    """The client has settled and has every number once and in order."""
    await until(lambda: tally()["settled"] and len(tally()["numbers"]) >= count, f"everything to arrive: {tally()}", 15)
    assert tally()["numbers"] == list(range(1, count + 1))
    assert tally()["unrecovered"] == 0


def bounded(tally, expiries, connections, seconds):
    """No more was refused, asked and tried than so many expiries and connections call for."""
    refused = tally["refused"]
    assert refused["connection"] <= expiries and refused["subscription"] <= expiries, tally
    assert tally["errors"] == [], tally
    assert tally["connected"] <= connections, tally
    # The first, one for each five seconds, and one for each refusal.
    due = 1 + -(-seconds // 4) + sum(refused.values())
    assert tally["tokens"] <= due and tally["sub_tokens"] <= due, (due, tally)
    # Each connecting but the first has its reason: a socket that ended, a server that closed it.
    assert len(tally["reasons"]) <= connections, tally


async def renewed_in_time():
    with Server(config(LONG)) as server:
        channel = unique("recov:")
        followed = Followed(server.ws, channel)
        await followed.start()
        await until(lambda: followed.settled, "the subscription")
        async with Publishing(server, channel) as publishing:
            await asyncio.sleep(17)
        await whole(followed.tally, publishing.count)
        tally = followed.tally()
        assert (tally["connected"], tally["subscribed"]) == (1, 1), tally
        assert tally["refused"] == {"connection": 0, "subscription": 0}, tally
        assert 3 <= tally["tokens"] <= 6 and 3 <= tally["sub_tokens"] <= 6, tally
        await followed.client.disconnect()


async def sockets_cut():
    with Server(config(SHORT)) as server:
        async with Relay(server.port) as relay:
            channel = unique("recov:")
            followed = Followed(relay.ws, channel)
            await followed.start()
            begun = time.monotonic()
            await until(lambda: followed.settled, "the subscription")
            async with Publishing(server, channel) as publishing:
                await asyncio.sleep(1)
                relay.cut()
                await until(lambda: followed.connected == 2 and followed.settled, "the first return")
                assert followed.refused == {"connection": 0, "subscription": 0}, "the tokens were still good"
                for connected in (3, 4):
                    relay.refusing = True
                    relay.cut()
                    await asyncio.sleep(PAST_EXPIRY)
                    relay.refusing = False
                    await until(lambda: followed.connected >= connected, "a return", 15)
            await whole(followed.tally, publishing.count)
            bounded(followed.tally(), expiries=2, connections=followed.connected, seconds=time.monotonic() - begun)
            assert followed.connected <= 6, "the two expiries may each cost a reconnect of their own"
            await followed.client.disconnect()


async def client_frozen():
    with Server(config(SHORT)) as server:
        channel = unique("recov:")
        begun = time.monotonic()
        script = Path(__file__).with_name("expiry_client.py")
        child = await asyncio.create_subprocess_exec(sys.executable, str(script), server.ws, channel, stdout=asyncio.subprocess.PIPE)
        last = {"settled": False, "numbers": []}

        async def read():
            while line := await child.stdout.readline():
                last.update(json.loads(line))

        reading = asyncio.create_task(read())
        try:
            await until(lambda: last["settled"], "the subscription", 15)
            async with Publishing(server, channel) as publishing:
                for _ in range(2):
                    child.send_signal(signal.SIGSTOP)
                    await asyncio.sleep(PAST_EXPIRY)
                    last["settled"] = False
                    child.send_signal(signal.SIGCONT)
                    await until(lambda: last["settled"] and len(last["numbers"]) >= publishing.count - 1, f"the return: {last}", 15)
            await whole(lambda: last, publishing.count)
            bounded(last, expiries=2, connections=3, seconds=time.monotonic() - begun)
        finally:
            child.kill()
            await child.wait()
            await reading


async def server_frozen():
    with Server(config(SHORT)) as server:
        channel = unique("recov:")
        followed = Followed(server.ws, channel)
        begun = time.monotonic()
        await followed.start()
        await until(lambda: followed.settled, "the subscription")
        count = 0
        for _ in range(2):
            for frozen in (True, False):
                count += 1
                await asyncio.to_thread(server.api, "publish", channel=channel, data={"n": count})
                if frozen:
                    os.kill(server.pid, signal.SIGSTOP)
                    await asyncio.sleep(PAST_EXPIRY)
                    os.kill(server.pid, signal.SIGCONT)
            await whole(followed.tally, count)
        bounded(followed.tally(), expiries=2, connections=3, seconds=time.monotonic() - begun)
        await followed.client.disconnect()


async def backend_with_old_tokens():
    with Server(config(SHORT)) as server:
        delays = {"min": 0.2, "max": 2.0}
        outside = Followed(server.ws, unique("recov:"), connection_exp=-60, **delays)
        inside = Followed(server.ws, unique("recov:"), subscription_exp=-60, connection_exp=60, **delays)
        for followed in (outside, inside):
            await followed.start()
        await asyncio.sleep(6)
        assert outside.connected == 0 and 2 <= outside.refused["connection"] <= 40, outside.tally()
        assert outside.tokens <= outside.refused["connection"] + 2, outside.tally()
        assert inside.subscribed == 0 and 2 <= inside.refused["subscription"] <= 40, inside.tally()
        assert inside.connected == 1, "the connection has nothing to do with it"
        for followed in (outside, inside):
            await followed.client.disconnect()


SCENARIOS = [renewed_in_time, sockets_cut, client_frozen, server_frozen, backend_with_old_tokens]


@pytest.fixture(scope="module")
def outcomes():
    async def side_by_side():
        return await asyncio.gather(*(scenario() for scenario in SCENARIOS), return_exceptions=True)

    return dict(zip(SCENARIOS, asyncio.run(side_by_side())))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_expiry(outcomes, scenario):
    if outcomes[scenario] is not None:
        raise outcomes[scenario]
