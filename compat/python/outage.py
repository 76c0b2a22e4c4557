"""A back end that is gone for a minute, for real: `python outage.py [CONNECTIONS] [SECONDS]` prints what it cost.

Logins by the connect proxy that end after 40 s, and a stream of further logins, subscribes and refreshes. Exits with 1 if a
connection that was logged in is lost. Logins per second are counted where the back end, which shares this process with
all clients, gets round to them: after a pause it may see more at once than were sent in a second. That `rate_limit` holds
is asserted on simulated time (`crates/server/src/proxy/outage_tests.rs`).
"""
import asyncio
import collections
import json
import sys
import time

import httpx

from server import Server, config
from wire import frame

RATE = 500
LOGIN = 40
ARRIVALS = 100


class Backend:
    """Counts requests; while it is down nobody listens, and its connections are cut."""

    def __init__(self):
        self.times, self.peers, self.port, self.server = collections.defaultdict(list), set(), 0, None

    async def up(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    def down(self):
        self.server.close()
        for peer in list(self.peers):
            peer.transport.abort()

    async def serve(self, reader, writer):
        self.peers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(next(line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")))
                await reader.readexactly(length)
                event = head.split(" ")[1][1:]
                self.times[event].append(time.monotonic())
                expire = int(time.time()) + LOGIN
                result = {"connect": {"user": "u", "expire_at": expire}, "refresh": {"expire_at": expire}}.get(event, {})
                body = json.dumps({"result": result}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.peers.discard(writer)
            writer.close()


class Peer:
    """A client that reads what comes and answers pings."""

    def __init__(self):
        self.lost, self.replies, self.id = None, {}, 0

    async def open(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.writer.write(b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                          b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        await self.reader.readuntil(b"\r\n\r\n")
        self.task = asyncio.create_task(self.read())
        return await self.command("connect")

    async def read(self):
        try:
            while True:
                first, second = await self.reader.readexactly(2)
                length = second & 127
                if length == 126:
                    length = int.from_bytes(await self.reader.readexactly(2), "big")
                payload = await self.reader.readexactly(length)
                if first & 15 == 8:
                    self.lost = int.from_bytes(payload[:2], "big")
                    break
                for line in payload.splitlines():
                    value = json.loads(line)
                    if not value:
                        self.writer.write(frame("{}"))
                    elif value.get("id") in self.replies:
                        self.replies.pop(value["id"]).set_result(value)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.lost = self.lost or 1006
        for reply in self.replies.values():
            reply.cancel()

    async def command(self, method, **parameters):
        self.id += 1
        reply = self.replies[self.id] = asyncio.get_running_loop().create_future()
        self.writer.write(frame(json.dumps({"id": self.id, method: parameters})))
        try:
            return await reply
        except asyncio.CancelledError:
            return {"lost": self.lost}


def memory(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096 >> 20


def most_in_a_second(times):
    most = begin = 0
    for end, at in enumerate(times):
        while times[begin] <= at - 1:
            begin += 1
        most = max(most, end - begin + 1)
    return most


async def run(connections, seconds):
    backend = Backend()
    await backend.up()
    proxy = lambda event: {"endpoint": f"http://127.0.0.1:{backend.port}/{event}", "timeout": "2s"}
    made = config(client={"proxy": {"connect": {"enabled": True, "rate_limit": RATE, **proxy("connect")}, "refresh": {"enabled": True, **proxy("refresh")}}},
                  namespaces=[{"name": "asked", "subscribe_proxy_enabled": True}])
    made["channel"]["proxy"] = {"subscribe": proxy("subscribe")}
    made["prometheus"] = {"enabled": True}
    made["log"]["level"] = "warn"
    with Server(made) as server:
        counts = {phase: collections.Counter() for phase in ("before", "down", "after")}
        phase, peers, peak = "before", [], 0

        def outcome(reply, event):
            counts[phase][event + (" ok" if event in reply else f" {reply['error']['code']}" if "error" in reply else " lost")] += 1
            return event in reply

        async def arrive():
            peer = Peer()
            if outcome(await peer.open(server.port), "connect"):
                peers.append(peer)
            else:
                peer.task.cancel()
                peer.writer.close()

        while len(peers) < connections:
            await asyncio.gather(*(arrive() for _ in range(min(200, connections - len(peers)))))
        first = list(peers)
        base = memory(server.pid)
        print(f"{len(first)} connections, {base} MB", flush=True)

        async def stream(until):
            nonlocal peak
            tasks, n = [], 0
            while time.monotonic() < until:
                peak = max(peak, memory(server.pid))
                for _ in range(ARRIVALS // 10):
                    n += 1
                    tasks.append(asyncio.create_task(arrive()))
                    peer = first[n % len(first)]

                    async def subscribe(peer=peer, n=n):
                        outcome(await peer.command("subscribe", channel=f"asked:{n}"), "subscribe")

                    tasks.append(asyncio.create_task(subscribe()))
                await asyncio.sleep(0.1)
            await asyncio.gather(*tasks)

        await stream(time.monotonic() + 5)
        phase, gone = "down", time.monotonic()
        backend.down()
        await stream(gone + seconds)
        phase = "after"
        await backend.up()
        back = time.monotonic()
        await stream(back + 70)
        lost = sum(peer.lost is not None for peer in first)
        answered = {event: next((at - back for at in times if at > back), None) for event, times in backend.times.items()}
        metrics = httpx.get(f"{server.http}/metrics").text
        for name, counter in counts.items():
            print(f"{name:7}", ", ".join(f"{key} {value}" for key, value in sorted(counter.items())))
        print("first request after the return, s:", {event: round(at, 1) for event, at in answered.items() if at is not None})
        print("requests in all:", {event: len(times) for event, times in backend.times.items()})
        for line in metrics.splitlines():
            if line.startswith("spinward_proxy_failures_total") and not line.endswith(" 0"):
                print(line)
        most = most_in_a_second(backend.times["connect"])
        print(f"lost of those logged in before: {lost} of {len(first)}; most logins in a second at the back end: {most} (rate_limit {RATE}); memory {base} MB before, {peak} MB at most")
        return lost == 0


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    sys.exit(0 if asyncio.run(run(*(arguments + [5000, 60][len(arguments):]))) else 1)
