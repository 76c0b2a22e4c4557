#!/usr/bin/env python3
"""Shows that the comparison bites: wrong replies, planted on the wire, must each be reported. See README.md.

A proxy stands between `run.py` and the server and falsifies one thing. For each fault `run.py` is run as always, with
the stored answers and the accept file, on a case that meets the fault: it has to end with exit code 1 and name the
case. Without a fault the same cases must come through the proxy unchanged.
"""
import argparse
import asyncio
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
CLOSE = 8
AT_ONCE = 4


class Fault:
    """A wrong reply: its name, the case that meets it, and how frames or HTTP bytes are falsified.

    `fresh` makes what falsifies the frames of one connection, where it has to remember something.
    """

    def __init__(self, name, case, frames=None, http=None, fresh=None):
        self.name, self.case, self.http = name, case, http or (lambda data: data)
        self.fresh = fresh or (lambda: frames or (lambda frame: [frame]))
        self.struck = 0

    def on_frame(self, falsify, frame):
        out = falsify(frame)
        self.struck += out != [frame]
        return out

    def on_http(self, data):
        out = self.http(data)
        self.struck += out != data
        return out


def text(pattern, new):
    """Each place in a frame that fits, replaced."""
    return lambda frame: [(frame[0], re.sub(pattern, new, frame[1]))]


def bytes_of_http(old, new):
    """Bytes of the same length, as the length of a body is told before it."""
    assert len(old) == len(new), (old, new)
    return lambda data: data.replace(old, new)


def drop(part):
    return lambda frame: [] if part in frame[1] else [frame]


def double(part):
    return lambda frame: [frame, frame] if part in frame[1] else [frame]


def hold(part):
    """The first frame with this in it goes behind the one after it, on each connection."""
    def fresh():
        held = []

        def go(frame):
            if held:
                return [frame, held.pop()]
            if part in frame[1]:
                held.append(frame)
                return []
            return [frame]
        return go
    return fresh


def close(old, new):
    def go(frame):
        opcode, payload = frame
        return [(opcode, new.to_bytes(2, "big") + payload[2:])] if opcode == CLOSE and payload[:2] == old.to_bytes(2, "big") else [frame]
    return go


def faults():
    return [
        Fault("another error code", "sub-closed", frames=text(rb'"code":103', b'"code":102')),
        Fault("another error code, in Protobuf", "sub-closed/pb", frames=text(rb"\x08\x67\x12\x11permission", b"\x08\x66\x12\x11permission")),
        Fault("another text of an error", "sub-closed", frames=text(rb"permission denied", b"forbidden")),
        Fault("an offset one too high", "recover-ok", frames=text(rb'"offset":4', b'"offset":5')),
        Fault("a missing field", "positioned-recov-plain", frames=text(rb'"recoverable":true,', b"")),
        Fault("a field too many", "positioned-recov-plain", frames=text(rb'"positioned":true', b'"positioned":true,"extra":1')),
        Fault("a boolean as a number", "positioned-recov-plain", frames=text(rb'"positioned":true', b'"positioned":1')),
        Fault("a number as a string", "positioned-recov-plain", frames=text(rb'"offset":(\d+)', rb'"offset":"\1"')),
        Fault("a ttl that is too long", "subtok-exp-future", frames=text(rb'"ttl":\d+', b'"ttl":7200')),
        Fault("two pushes in the other order", "positioned-recov-plain", fresh=hold(b'"pub"')),
        Fault("a push that does not come", "sub-again-after-unsub", frames=drop(b'"pub"')),
        Fault("a push that comes twice", "recover-ok", frames=double(b'"pub"')),
        Fault("a reply that does not come", "frame-rpc-ping", frames=drop(b'"rpc"')),
        Fault("another payload", "publish-pub-sub-user", frames=text(rb'\{"n":1\}', b'{"n":2}')),
        Fault("a falsified patch", "delta-ok", frames=text(rb"\d\}", b"7}")),
        Fault("a recovery that claims too much", "recover-wrong-epoch", frames=text(rb'"was_recovering":true', b'"recovered":true,"was_recovering":true')),
        Fault("another close code", "frame-unknown-method", frames=close(3501, 3500)),
        Fault("another close reason", "frame-unknown-method", frames=text(rb"bad request", b"bad manners")),
        Fault("another HTTP status", "api-publish-ok", http=bytes_of_http(b"HTTP/1.1 200 OK", b"HTTP/1.1 201 OK")),
        Fault("another content type", "api-publish-ok", http=bytes_of_http(b"application/json", b"application/jsom")),
        Fault("another error of the API", "api-publish-unknown-ns", http=bytes_of_http(b'"code":102', b'"code":103')),
        Fault("a call without a key that is let in", "http-key-none", http=bytes_of_http(b"401 Unauthorized", b"200 Unauthorized")),
    ]


async def pump(reader, writer, change):
    """Bytes from the server to the client: HTTP until a connection is upgraded, frames from then on."""
    upgraded, buffer, falsify = False, b"", change.fresh()
    while data := await reader.read(65536):
        if not upgraded:
            if data.startswith(b"HTTP/1.1 101"):
                head, end, data = data.partition(b"\r\n\r\n")
                writer.write(head + end)
                upgraded = True
            else:
                writer.write(change.on_http(data))
        if upgraded:
            buffer += data
            while (frame := take(buffer)) is not None:
                opcode, payload, used = frame
                buffer = buffer[used:]
                for one in change.on_frame(falsify, (opcode, payload)):
                    writer.write(pack(*one))
        await writer.drain()


def take(buffer):
    """The first frame of a server (which masks nothing): opcode, payload, bytes used. None: not all there."""
    if len(buffer) < 2:
        return None
    length, at = buffer[1] & 127, 2
    if length > 125:
        at = 4 if length == 126 else 10
        length = int.from_bytes(buffer[2:at], "big")
    return (buffer[0] & 15, buffer[at:at + length], at + length) if len(buffer) >= at + length else None


def pack(opcode, payload):
    n = len(payload)
    length = bytes([n]) if n < 126 else b"\x7e" + n.to_bytes(2, "big") if n < 65536 else b"\x7f" + n.to_bytes(8, "big")
    return bytes([0x80 | opcode]) + length + payload


async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def through(target, change, case):
    """Runs one case through the proxy: exit code and output of run.py."""
    host, port = target.rsplit(":", 1)

    async def serve(reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection(host, int(port))
            there = asyncio.create_task(copy(reader, up_writer))
            back = asyncio.create_task(pump(up_reader, writer, change))
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            await asyncio.wait([back], timeout=0.2)
            back.cancel()
            up_writer.close()
        except (OSError, asyncio.CancelledError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    name, pb = case.removesuffix("/pb"), case.endswith("/pb")
    run = await asyncio.create_subprocess_exec(
        sys.executable, "run.py", "--target", f"planted={address}", "--against", "centrifugo-6.9.json", "--accept", "accept.txt",
        "--only", f"^{re.escape(name)}$", "--proto", "pb" if pb else "json", cwd=HERE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    out, _ = await run.communicate()
    server.close()
    return run.returncode, out.decode("utf-8", "replace")


async def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--target", required=True, metavar="HOST:PORT", help="a server that answers rightly")
    target, planted, bad = ap.parse_args().target, faults(), []
    gate = asyncio.Semaphore(AT_ONCE)

    async def run(fault):
        async with gate:
            return await through(target, fault, fault.case)

    honest = [Fault("nothing", case) for case in sorted({fault.case for fault in planted})]
    for fault, (code, out) in zip(honest, await asyncio.gather(*map(run, honest))):
        if code or "1 same" not in out:
            bad.append(f"{fault.case} differs with nothing planted:\n{out}")
    for fault, (code, out) in zip(planted, await asyncio.gather(*map(run, planted))):
        caught = code == 1 and fault.struck and re.search(rf"^(DIFF|ORDER) +{re.escape(fault.case)} ", out, re.M)
        print(f"{'caught' if caught else 'MISSED'}  {fault.name} ({fault.case})")
        if not caught:
            bad.append(f"{fault.name} in {fault.case}: planted {fault.struck} times, exit code {code}\n{out}")
    print(*bad, sep="\n")
    print(f"{len(planted)} wrong replies planted: " + (f"{len(bad)} complaints" if bad else "each was caught"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
