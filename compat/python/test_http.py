"""Connections of backends: what a refused call must not cost the next one."""
import socket
import time

import pytest

from server import Server, config

HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\nContent-Length: {size}\r\n\r\n"


@pytest.fixture(scope="module")
def server():
    with Server(config()) as server:
        yield server


def answer(connection):
    """The head of one answer, None where the connection is over; answers here come in one piece."""
    try:
        got = connection.recv(65536)
    except ConnectionError:
        return None
    return got.decode() or None


@pytest.mark.parametrize(("path", "key", "status"), [
    ("/api/publish", "wrong", 401), ("/api/nothing", "api-key", 404), ("/nowhere", "api-key", 404),
])
def test_a_connection_outlives_a_refusal_whose_body_comes_late(server, path, key, status):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(HEAD.format(path=path, key=key, size=4).encode())
            time.sleep(0.002)
            connection.sendall(b"{}  ")
            head = answer(connection)
            assert head.startswith(f"HTTP/1.1 {status} ")
            if "connection: close" in head.lower():
                pytest.fail("a small body is no reason to close")
            connection.sendall(HEAD.format(path="/api/info", key="api-key", size=2).encode() + b"{}")
            assert (answer(connection) or "nothing").startswith("HTTP/1.1 200 ")


def test_a_refusal_whose_body_never_ends_says_that_the_connection_does(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(HEAD.format(path="/api/publish", key="wrong", size=1 << 30).encode())
        head = answer(connection)
        assert head.startswith("HTTP/1.1 401 ")
        assert "connection: close" in head.lower()


def test_a_call_under_way_is_answered_though_the_server_stops():
    with Server(config()) as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(HEAD.format(path="/api/info", key="api-key", size=2).encode() + b"{")
        time.sleep(0.2)
        server.terminate()
        assert server.await_log("stopping")
        connection.sendall(b"}")
        assert (answer(connection) or "nothing").startswith("HTTP/1.1 200 ")


def test_a_body_that_does_not_come_is_not_waited_for(server, only_spinward):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(HEAD.format(path="/api/publish", key="api-key", size=100).encode() + b"{")
        begin = time.monotonic()
        head = answer(connection)
        assert head.startswith("HTTP/1.1 408 ")
        assert "connection: close" in head.lower()
        assert time.monotonic() - begin >= 25
        assert answer(connection) is None
