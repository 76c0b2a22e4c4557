"""HTTP around the API and the client endpoints: keys, methods, paths, origins (§1.1, §17.1, §22)."""
from lib import add, case


def call(name, intent, path="/api/info", method="POST", body=b"{}", headers=None, key=False, ref="§17.1", times=1):
    async def go(t):
        for _ in range(times):
            await t.post(path, body, headers, method=method, key=key)
    add("http-" + name, intent, ref, go, pb=False)


P = "/api/channels"
B = b'{"pattern":"no-such-*"}'
call("key-none", "no key: 401", P, body=B)
call("key-header", "X-API-Key", P, body=B, headers={"X-API-Key": "k"})
call("key-header-lower", "header names do not mind case", P, body=B, headers={"x-api-key": "k"})
call("key-header-wrong", "a wrong key", P, body=B, headers={"X-API-Key": "wrong"})
call("key-header-case", "keys mind case", P, body=B, headers={"X-API-Key": "K"})
call("key-header-empty", "an empty key", P, body=B, headers={"X-API-Key": ""})
call("key-header-prefix", "a longer key", P, body=B, headers={"X-API-Key": "kk"})
call("key-authorization", "Authorization: apikey", P, body=B, headers={"Authorization": "apikey k"})
call("key-authorization-upper", "the scheme does not mind case", P, body=B, headers={"Authorization": "APIKEY k"})
call("key-authorization-wrong", "a wrong key", P, body=B, headers={"Authorization": "apikey wrong"})
call("key-authorization-bearer", "another scheme", P, body=B, headers={"Authorization": "Bearer k"})
call("key-authorization-bare", "the key alone", P, body=B, headers={"Authorization": "k"})
call("key-authorization-two-spaces", "two spaces", P, body=B, headers={"Authorization": "apikey  k"})
call("key-authorization-tab", "a tab", P, body=B, headers={"Authorization": "apikey\tk"})
call("key-authorization-trailing", "something behind the key", P, body=B, headers={"Authorization": "apikey k x"})
call("key-query", "?api_key=", P + "?api_key=k", body=B)
call("key-query-wrong", "a wrong one", P + "?api_key=wrong", body=B)
call("key-query-empty", "an empty one", P + "?api_key=", body=B)
call("key-query-escaped", "escaped", P + "?api_key=%6b", body=B)
call("key-query-second", "behind another parameter", P + "?x=1&api_key=k", body=B)
call("key-query-twice", "two, the first wrong", P + "?api_key=wrong&api_key=k", body=B)
call("key-query-twice-first", "two, the first right", P + "?api_key=k&api_key=wrong", body=B)
call("key-header-wrong-query-right", "which place counts", P + "?api_key=k", body=B, headers={"X-API-Key": "wrong"})
call("key-query-wrong-header-right", "which place counts", P + "?api_key=wrong", body=B, headers={"X-API-Key": "k"})
call("key-authorization-right-header-wrong", "which place counts", P, body=B, headers={"X-API-Key": "wrong", "Authorization": "apikey k"})
call("key-header-right-authorization-wrong", "which place counts", P, body=B, headers={"X-API-Key": "k", "Authorization": "apikey wrong"})
call("key-in-body", "a key in the body is none", P, body=b'{"api_key":"k"}')
call("key-none-legacy", "no key, the old path", "/api", body=b'{"method":"channels","params":{}}')
call("key-query-legacy", "key in the query, the old path", "/api?api_key=k", body=b'{"method":"nope","params":{}}')
for m in ("GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
    call("method-" + m.lower(), f"{m} on a method of the API", P, method=m, key=True)
    call("method-nokey-" + m.lower(), f"{m} without a key", P, method=m)
    if m in ("GET", "PUT", "OPTIONS"):
        call("method-legacy-" + m.lower(), f"{m} on the old path", "/api", method=m, key=True)
call("path-unknown", "an unknown method: 404", "/api/nope", key=True)
call("path-unknown-nokey", "an unknown method without a key", "/api/nope")
call("path-unknown-get", "GET of an unknown method", "/api/nope", method="GET", key=True)
call("path-slash", "a trailing slash", "/api/channels/", key=True, body=B)
call("path-root-slash", "the old path with a slash", "/api/", key=True, body=b'{"method":"nope","params":{}}')
call("path-upper", "upper case", "/API/channels", key=True, body=B)
call("path-deep", "deeper", "/api/channels/x", key=True, body=B)
call("path-escaped", "escaped", "/api/%63hannels", key=True, body=B)
call("path-longer", "a name that begins with the prefix", "/apix", key=True)
call("path-root", "the root", "/", method="GET", ref="§22")
call("path-other", "nothing there", "/nope", method="GET", ref="§22")
call("type-none", "no content type", P, body=B, key=True)
call("type-text", "text/plain", P, body=B, key=True, headers={"Content-Type": "text/plain"})
call("type-form", "a form", P, body=b"pattern=x", key=True, headers={"Content-Type": "application/x-www-form-urlencoded"})
call("type-charset", "with a charset", P, body=B, key=True, headers={"Content-Type": "application/json; charset=utf-8"})
call("origin-on-api", "an Origin header does not matter to the API", P, body=B, key=True, headers={"Origin": "https://bad.example"})
call("health", "health", "/health", method="GET", ref="§22")
call("health-post", "health by POST", "/health", method="POST", ref="§22")
call("health-head", "health by HEAD", "/health", method="HEAD", ref="§22")
call("health-slash", "health with a slash", "/health/", method="GET", ref="§22")
call("health-query", "health with a query", "/health?x=1", method="GET", ref="§22")
call("init-get", "init", "/connection/init", method="GET", ref="§1.1")
call("init-origin-bad", "init from an origin that is not allowed", "/connection/init", method="GET", headers={"Origin": "https://bad.example"}, ref="§1.1")
call("init-origin-ok", "init from an origin that is allowed", "/connection/init", method="GET", headers={"Origin": "https://ok.example"}, ref="§1.1")
call("ws-get", "the WebSocket path without an upgrade", "/connection/websocket", method="GET", body=b"", ref="§1.1")
call("ws-post", "the WebSocket path by POST", "/connection/websocket", method="POST", ref="§1.1")
call("ws-origin-bad", "from an origin that is not allowed, without an upgrade", "/connection/websocket", method="GET", body=b"", headers={"Origin": "https://bad.example"}, ref="§1.1")


def shake(name, intent, headers=None, path="/connection/websocket", ref="§1.1", **kw):
    async def go(t):
        a = await t.ws("A", path=path, **({"additional_headers": headers} if headers else {}), **kw)
        if a:
            t.note("open", True)
            await a.send({"id": 1, "connect": {}})
            await a.reply(1)
    add("http-ws-" + name, intent, ref, go, pb=False)


shake("plain", "no Origin: open")
shake("allowed", "an allowed origin", origin="https://ok.example")
shake("allowed-upper", "origins do not mind case", origin="https://OK.Example")
shake("wild", "a pattern", origin="https://a.wild.example")
shake("wild-deep", "a pattern, two labels", origin="https://a.b.wild.example")
shake("wild-none", "a pattern needs a label", origin="https://wild.example")
shake("wild-dot", "a pattern with nothing before the dot", origin="https://.wild.example")
shake("bad", "an origin that is not allowed: 403", origin="https://bad.example")
shake("port", "an allowed origin with a port", origin="https://ok.example:8443")
shake("scheme", "another scheme", origin="http://ok.example")
shake("suffix", "an allowed origin as a prefix", origin="https://ok.example.evil.example")
shake("null", "Origin: null", origin="null")
shake("slash", "a path is not followed", path="/connection/websocket/")
shake("query", "a query does not matter", path="/connection/websocket?a=b")


def raw(name, intent, head, ref="§1.1", line="GET /connection/websocket HTTP/1.1"):
    """A handshake of these header lines."""
    async def go(t):
        await t.raw_http(line + "\r\nHost: x\r\n" + "".join(h + "\r\n" for h in head) + "\r\n")
    add("http-shake-" + name, intent, ref, go, pb=False)


UP, CO, V, K = "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
raw("no-upgrade", "no Upgrade header", [CO, V, K])
raw("no-connection", "no Connection header", [UP, V, K])
raw("no-version", "no version", [UP, CO, K])
raw("version-8", "an old version", [UP, CO, "Sec-WebSocket-Version: 8", K])
raw("no-key", "no key", [UP, CO, V])
raw("bad-key", "a key that is no base64 of 16 bytes", [UP, CO, V, "Sec-WebSocket-Key: abc"])
raw("post", "POST", [UP, CO, V, K], line="POST /connection/websocket HTTP/1.1")


@case("http-many-on-one-connection", "several calls on one connection", "§17.1", pb=False)
async def _(t):
    for _i in range(3):
        await t.api("channels", pattern="no-such-*")


@case("http-expect-continue", "Expect: 100-continue", "§17.1", pb=False)
async def _(t):
    await t.raw_http("POST /api/nope HTTP/1.1\r\nHost: x\r\nX-API-Key: k\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}")


@case("http-no-host", "HTTP/1.1 without Host", "§17.1", pb=False)
async def _(t):
    await t.raw_http("POST /api/nope HTTP/1.1\r\nX-API-Key: k\r\nContent-Length: 2\r\n\r\n{}")


@case("http-1.0", "HTTP/1.0", "§17.1", pb=False)
async def _(t):
    await t.raw_http("GET /health HTTP/1.0\r\n\r\n")
