"""What happens by itself: pings, logins that do not come, ends of connections and subscriptions (§1.3, §3, §5, §10)."""
import asyncio
import time

from lib import case, now


@case("timer-ping", "a ping comes, its pong keeps the connection", "§1.3")
async def _(t):
    a = await t.client()
    await a.ping()
    await a.ping()
    await a.closed(3)


@case("timer-no-pong", "3012", "§1.3")
async def _(t):
    a = await t.client()
    a.auto_pong = False
    await a.closed(9)


@case("timer-no-pong-but-commands", "commands are no pong", "§1.3")
async def _(t):
    a = await t.client()
    a.auto_pong = False
    for _i in range(16):
        if not a.is_closed:
            await a.cmd("rpc", {"method": "ping"})
            a.lane[:] = [e for e in a.lane if not ("tx" in e or ("rx" in e and "rpc" in e["rx"]))]
            await asyncio.sleep(0.5)
    await a.closed(2)


@case("timer-stale", "no login: 3502", "§10")
async def _(t):
    a = await t.ws()
    await a.closed(5)


@case("timer-stale-after-error", "a login that ended in an error, and no other", "§10")
async def _(t):
    a = await t.client(claims={"exp": now(-10)})
    await a.closed(5)


@case("timer-expired", "3005 after exp and the grace", "§3,§10")
async def _(t):
    a = await t.client(claims={"exp": now(2)})
    await a.closed(7)


@case("timer-expired-refreshed", "a refresh in time", "§3")
async def _(t):
    a = await t.client(claims={"exp": now(2)})
    await a.cmd("refresh", token=t.tok(exp=now(600)))
    await a.closed(4)


@case("timer-expired-refreshed-late", "a refresh in the grace", "§3,§10")
async def _(t):
    # Early in a second, as exp counts whole ones and the grace is but one.
    await asyncio.sleep(1.05 - time.time() % 1)
    a = await t.client(claims={"exp": now(1)})
    await asyncio.sleep(1.3)
    await a.cmd("refresh", token=t.tok(exp=now(600)))
    await a.closed(3)


@case("timer-expire_at", "expire_at ends it, not exp", "§3,§10")
async def _(t):
    a = await t.client(claims={"exp": now(600), "expire_at": now(2)})
    await a.closed(7)


@case("timer-expire_at-zero", "expire_at 0: it stays beyond exp", "§3")
async def _(t):
    a = await t.client(claims={"exp": now(2), "expire_at": 0})
    await a.closed(5)


@case("timer-sub-expired", "a subscription ends: 3006", "§5,§10")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub(ch, token=t.subtok(ch, exp=now(2)))
    await a.closed(7)


@case("timer-sub-refreshed", "a subscription prolonged in time", "§5")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub(ch, token=t.subtok(ch, exp=now(2)))
    await a.cmd("sub_refresh", channel=ch, token=t.subtok(ch, exp=now(600)))
    await a.closed(4)


@case("timer-sub-unsubscribed", "the end of a subscription that was given up does not matter", "§5")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await a.sub(ch, token=t.subtok(ch, exp=now(2)))
    await a.unsub(ch)
    await a.closed(5)


@case("timer-server-sub-expired", "a server-side subscription with an end", "§16,§17.2")
async def _(t):
    a, ch = await t.client(), t.ch("open")
    await t.api("subscribe", user=t.user, channel=ch, expire_at=int(now(2)))
    await a.closed(7)


@case("timer-api-refresh", "the API gives the connection an end", "§17.2")
async def _(t):
    a = await t.client()
    await t.api("refresh", user=t.user, expire_at=int(now(2)))
    await a.closed(7)


@case("timer-api-refresh-prolongs", "the API takes the end away", "§17.2")
async def _(t):
    a = await t.client(claims={"exp": now(2)})
    await t.api("refresh", user=t.user)
    await a.closed(5)
