"""A client of centrifuge-python whose tokens end after five seconds, and what it does about it, counted.

As a program (python expiry_client.py URL CHANNEL) it prints the counts as a line of JSON ten times a second.
"""
import asyncio
import json
import sys
import time

from centrifuge import Client, ClientEventHandler, ClientState, SubscriptionEventHandler, SubscriptionState

from wire import jwt


class Followed(ClientEventHandler):
    """Connects and subscribes to a channel. `connection_exp` and `subscription_exp` give the tokens another end."""

    def __init__(self, url, channel, user="42", connection_exp=5, subscription_exp=5, **delays):
        self.refused = {"connection": 0, "subscription": 0}
        self.errors, self.reasons, self.numbers = [], [], []
        self.tokens = self.sub_tokens = self.connected = self.subscribed = self.unrecovered = 0

        async def token():
            self.tokens += 1
            return jwt({"sub": user, "exp": int(time.time()) + connection_exp})

        async def sub_token(channel):
            self.sub_tokens += 1
            return jwt({"sub": user, "channel": channel, "exp": int(time.time()) + subscription_exp})

        delays = {"min": 0.1, "max": 0.5, **delays}
        self.client = Client(url, self, get_token=token, proxy=None, min_reconnect_delay=delays["min"], max_reconnect_delay=delays["max"])
        self.sub = self.client.new_subscription(
            channel, Listener(self), get_token=sub_token, min_resubscribe_delay=delays["min"], max_resubscribe_delay=delays["max"]
        )

    async def start(self):
        await self.sub.subscribe()
        await self.client.connect()

    def note(self, kind, error):
        code = getattr(error, "code", None)
        if code == 109:
            self.refused[kind] += 1
        elif code is not None:
            self.errors.append([kind, code])

    @property
    def settled(self):
        return self.client.state is ClientState.CONNECTED and self.sub.state is SubscriptionState.SUBSCRIBED

    def tally(self):
        return {name: value for name, value in vars(self).items() if name not in ("client", "sub")} | {"settled": self.settled}

    async def on_connected(self, ctx):
        self.connected += 1

    async def on_connecting(self, ctx):
        self.reasons.append(ctx.code)

    async def on_error(self, ctx):
        self.note("connection", ctx.error)


class Listener(SubscriptionEventHandler):
    def __init__(self, followed):
        self.followed = followed

    async def on_subscribed(self, ctx):
        self.followed.subscribed += 1
        self.followed.unrecovered += ctx.was_recovering and not ctx.recovered

    async def on_publication(self, ctx):
        self.followed.numbers.append(ctx.pub.data["n"])

    async def on_error(self, ctx):
        self.followed.note("subscription", ctx.error)


async def main(url, channel):
    followed = Followed(url, channel)
    await followed.start()
    while True:
        print(json.dumps(followed.tally()), flush=True)
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
