"""WebSocket clients over TLS."""
import asyncio
import contextlib
import socket
import threading

from websockets.sync.client import connect


class _Loop:
    """An event loop in a thread of its own, made by its first user."""

    def __init__(self):
        self._lock = threading.Lock()
        self._loop = None

    def run(self, work, timeout):
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)


_LOOP = _Loop()
# The loop itself holds its tasks weakly.
_TASKS = set()


async def _pump(reader, writer):
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _open(raw, context, name, near):
    secure = await asyncio.open_connection(sock=raw, ssl=context, server_hostname=name)
    plain = await asyncio.open_connection(sock=near)
    pumps = [_pump(secure[0], plain[1]), _pump(plain[0], secure[1])]
    for pump in pumps:
        task = asyncio.ensure_future(pump)
        _TASKS.add(task)
        task.add_done_callback(_TASKS.discard)


def connect_secure(url, raw, context, name, **more):
    """A WebSocket over TLS on a connected socket.

    With `websockets.sync`, where one thread reads a TLS socket while another writes to it, about one connection in 450
    waited for a response over TLS 1.3 that had been sent. Here an event loop has the socket to itself.
    """
    near, far = socket.socketpair()
    raw.setblocking(False)
    near.setblocking(False)
    try:
        _LOOP.run(_open(raw, context, name, near), 15)
        return connect(url.replace("wss:", "ws:", 1), sock=far, proxy=None, **more)
    except BaseException:
        # The loop sees that and closes the others, which are its own.
        far.close()
        raise
