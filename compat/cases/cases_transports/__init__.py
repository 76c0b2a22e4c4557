"""Profile transports: every way to a server of v6.9 beside the plain WebSocket. Servers: up_transports.py."""
import contextlib

import lib


class T(lib.T):
    EMPTY_HEADERS = True


@contextlib.asynccontextmanager
async def around(target):
    yield T
