"""A stand-in for Azure Service Bus: its REST API for queues, as far as consumers use it, and OAuth 2.0 tokens.

Queues are made by the first message. Messages are delivered in their order, except that one whose lock has ended comes
when it is free again. Signatures and tokens are checked. Arguments: port, seconds that a lock lasts.
"""

import base64
import hashlib
import hmac
import json
import sys
import threading
import time
import urllib.parse
import uuid
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY_NAME, KEY = "reader", "secret"
CLIENT, CLIENT_SECRET, TOKEN = "application", "client-secret", "token-of-the-application"
LOCK = float(sys.argv[2])

changed = threading.Condition()
queues = {}  # name: list of messages
numbers = iter(range(1, 1 << 62))


def entitled(header, path):
    """Returns true for the token, and for a signature over the queue that has not expired."""
    if header == f"Bearer {TOKEN}":
        return True
    kind, _, rest = header.partition(" ")
    if kind != "SharedAccessSignature":
        return False
    given = dict(part.split("=", 1) for part in rest.split("&"))
    text = f"{given['sr']}\n{given['se']}".encode()
    wanted = base64.b64encode(hmac.new(KEY.encode(), text, hashlib.sha256).digest()).decode()
    resource = urllib.parse.urlsplit(urllib.parse.unquote_plus(given["sr"])).path
    return (
        urllib.parse.unquote_plus(given["sig"]) == wanted
        and urllib.parse.unquote_plus(given["skn"]) == KEY_NAME
        and int(given["se"]) > time.time()
        and path.startswith(resource)
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def token(self):
        form = dict(urllib.parse.parse_qsl(self.body().decode()))
        wanted = {
            "grant_type": "client_credentials",
            "client_id": CLIENT,
            "client_secret": CLIENT_SECRET,
            "scope": "https://servicebus.azure.net/.default",
        }
        if form != wanted:
            return self.answer(401)
        text = json.dumps({"token_type": "Bearer", "access_token": TOKEN, "expires_in": 3600})
        self.answer(200, [("Content-Type", "application/json")], text.encode())

    def send(self, queue):
        properties = [
            (name, value)
            for name, value in self.headers.items()
            if name.lower() not in ("host", "content-length", "authorization", "connection", "accept")
        ]
        message = {
            "number": next(numbers),
            "sent": time.time(),
            "until": 0,
            "lock": "",
            "count": 0,
            "properties": properties,
            "body": self.body(),
        }
        with changed:
            queues.setdefault(queue, []).append(message)
            changed.notify_all()
        self.answer(201)

    def peek_lock(self, queue, seconds):
        self.body()
        end = time.monotonic() + seconds
        with changed:
            while True:
                now = time.time()
                free = next((one for one in queues.get(queue, []) if one["until"] <= now), None)
                if free is not None:
                    free.update(until=now + LOCK, lock=str(uuid.uuid4()), count=free["count"] + 1)
                    taken = dict(free)
                    break
                left = end - time.monotonic()
                if left <= 0:
                    return self.answer(204)
                changed.wait(min(left, 0.2))
        broker = {
            "DeliveryCount": taken["count"],
            "EnqueuedSequenceNumber": 0,
            "EnqueuedTimeUtc": formatdate(taken["sent"], usegmt=True),
            "LockToken": taken["lock"],
            "LockedUntilUtc": formatdate(taken["until"], usegmt=True),
            "MessageId": uuid.uuid4().hex,
            "SequenceNumber": taken["number"],
            "State": "Active",
        }
        headers = [("BrokerProperties", json.dumps(broker)), *taken["properties"]]
        self.answer(201, headers, taken["body"])

    def of_lock(self, queue, number, lock):
        self.body()
        with changed:
            found = None
            for one in queues.get(queue, []):
                if str(one["number"]) == number and one["lock"] == lock and one["until"] > time.time():
                    found = one
            if found is None:
                return self.answer(404)
            if self.command == "DELETE":
                queues[queue].remove(found)
            else:
                found["until"] = time.time() + LOCK if self.command == "POST" else 0
            changed.notify_all()
        self.answer(200)

    def handle_any(self):
        url = urllib.parse.urlsplit(self.path)
        path = url.path
        if path == "/tenant/oauth2/v2.0/token":
            return self.token()
        if path == "/left":
            with changed:
                text = json.dumps({name: len(messages) for name, messages in queues.items()})
            return self.answer(200, body=text.encode())
        if not entitled(self.headers.get("authorization", ""), path):
            self.body()
            return self.answer(401)
        queue, _, rest = path.strip("/").partition("/messages")
        if rest == "" and self.command == "POST":
            return self.send(queue)
        if rest == "/head" and self.command == "POST":
            seconds = dict(urllib.parse.parse_qsl(url.query)).get("timeout", "60")
            return self.peek_lock(queue, int(seconds))
        self.of_lock(queue, *rest.strip("/").split("/"))

    do_GET = do_POST = do_PUT = do_DELETE = handle_any


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
