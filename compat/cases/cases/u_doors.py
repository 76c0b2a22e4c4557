"""HTTP in combination: keys in several places, paths, methods, handshakes (§1.1, §17.1, §22)."""
from lib import case

from cases.n_http import B, CO, K, P, UP, V, call, raw, shake

for n, path in [("escaped-slash", "/api%2Fchannels"), ("escaped-prefix", "/%61pi/channels"), ("escaped-upper", "/api/%43hannels"), ("double-escaped", "/api/%2563hannels"), ("double-slash", "/api//channels"), ("leading-double-slash", "//api/channels"), ("dot", "/api/./channels"), ("dot-dot", "/api/x/../channels"), ("dot-dot-out", "/api/../api/channels"), ("escaped-dots", "/api/%2e%2e/api/channels"),
                ("question", "/api/channels?"), ("fragment-escaped", "/api/channels%23x"), ("space-escaped", "/api/channels%20"), ("nul-escaped", "/api/channels%00"), ("semicolon", "/api/channels;x=1"), ("plus", "/api/channels+"), ("utf8", "/api/%C3%A9"), ("batch-slash", "/api/batch/"), ("method-dot", "/api/.")]:
    call("door-" + n, f"path: {n}", path, body=B, key=True)
    if n in ("escaped-prefix", "double-slash", "leading-double-slash", "dot", "dot-dot", "escaped-slash"):
        call("door-get-" + n, f"path by GET: {n}", path.replace("channels", "channels"), method="GET", key=True)
for n, path in [("health-escaped", "/%68ealth"), ("health-double", "//health"), ("health-dot", "/./health"), ("init-escaped", "/connection/%69nit"), ("init-slash", "/connection/init/"), ("init-double", "/connection//init")]:
    call("door-" + n, f"path: {n}", path, method="GET", ref="§22")
for m in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
    call("door-init-" + m.lower(), f"init by {m}", "/connection/init", method=m, ref="§1.1")
    call("door-health-" + m.lower(), f"health by {m}", "/health", method=m, ref="§22")
    call("door-ws-" + m.lower(), f"the WebSocket path by {m}", "/connection/websocket", method=m, body=b"", ref="§1.1")
call("door-init-origin-preflight", "a preflight of init", "/connection/init", method="OPTIONS", headers={"Origin": "https://ok.example", "Access-Control-Request-Method": "GET"}, ref="§1.1")
call("door-init-origin-null", "init from a null origin", "/connection/init", method="GET", headers={"Origin": "null"}, ref="§1.1")
call("door-init-origin-empty", "init from an empty origin", "/connection/init", method="GET", headers={"Origin": ""}, ref="§1.1")
call("door-init-origin-upper", "init from an allowed origin in upper case", "/connection/init", method="GET", headers={"Origin": "HTTPS://OK.EXAMPLE"}, ref="§1.1")
call("door-api-options-origin", "a preflight of the API", P, method="OPTIONS", headers={"Origin": "https://ok.example", "Access-Control-Request-Method": "POST"})
for n, h in [("two-headers", {"X-API-Key": "k", "Authorization": "Bearer zz"}), ("apikey-upper-key", {"Authorization": "apikey K"}), ("apikey-none", {"Authorization": "apikey"}), ("apikey-quoted", {"Authorization": 'apikey "k"'}), ("apikey-colon", {"Authorization": "apikey: k"}), ("apikey-comma", {"Authorization": "apikey k, Bearer x"}), ("apikey-mixed", {"Authorization": "ApiKey k"}),
             ("x-list", {"X-API-Key": "k,zz"}), ("header-key-underscore", {"X_API_KEY": "k"}), ("basic", {"Authorization": "Basic azo="}), ("proxy-authorization", {"Proxy-Authorization": "apikey k"})]:
    call("door-key-" + n, f"key: {n}", P, body=B, headers=h)
for n, q in [("bearer-query", "?token=k"), ("plus", "?api_key=k+"), ("upper", "?API_KEY=k"), ("array", "?api_key[]=k"), ("semicolon", "?x=1;api_key=k"), ("escaped-name", "?api%5fkey=k"), ("bad-escape", "?api_key=k&x=%zz"), ("bad-escape-key", "?api_key=%zz"), ("no-value", "?api_key"), ("hash", "?api_key=k%23"), ("empty-first", "?&api_key=k")]:
    call("door-key-query-" + n, f"key in the query: {n}", P + q, body=B)
call("door-key-query-and-header-right", "both right", P + "?api_key=k", body=B, headers={"X-API-Key": "k"})
call("door-key-legacy-header", "the old path, X-API-Key", "/api", body=b'{"method":"channels","params":{"pattern":"zz-none"}}', headers={"X-API-Key": "k"})
call("door-key-legacy-authorization", "the old path, Authorization", "/api", body=b'{"method":"channels","params":{"pattern":"zz-none"}}', headers={"Authorization": "apikey k"})
call("door-key-get", "GET with a wrong key", P, method="GET", headers={"X-API-Key": "wrong"})
call("door-key-unknown-wrong", "an unknown method with a wrong key", "/api/nope", headers={"X-API-Key": "wrong"})
for n, ty in [("protobuf", "application/octet-stream"), ("xml", "text/xml"), ("empty", ""), ("garbage", "garbage"), ("upper", "APPLICATION/JSON"), ("multipart", "multipart/form-data; boundary=x")]:
    call("door-type-" + n, f"content type {n}", P, body=B, key=True, headers={"Content-Type": ty})
    call("door-type-batch-" + n, f"content type {n}, batch", "/api/batch", body=b'{"commands":[]}', key=True, headers={"Content-Type": ty})
call("door-accept", "Accept does not matter", P, body=B, key=True, headers={"Accept": "text/html"})
call("door-encoding", "a content encoding that is not undone", P, body=B, key=True, headers={"Content-Encoding": "gzip"})
call("door-empty-body", "an empty body", P, body=b"", key=True)
call("door-bad-body", "no JSON", P, body=b"x", key=True)
call("door-override", "X-HTTP-Method-Override does not matter", P, method="GET", body=b"", key=True, headers={"X-HTTP-Method-Override": "POST"})
for n in ("admin/auth", "metrics", "swagger", "debug/pprof/", "connection", "favicon.ico", "robots.txt", "index.html"):
    call("door-path-" + n.strip("/").replace("/", "-"), f"GET /{n}", "/" + n, method="GET", ref="§22")

# Handshakes.
OK, BAD = "Origin: https://ok.example", "Origin: https://bad.example"
raw("door-origin-bad-no-upgrade", "a bad origin, no Upgrade", [CO, V, K, BAD])
raw("door-origin-bad-no-key", "a bad origin, no key", [UP, CO, V, BAD])
raw("door-origin-bad-version", "a bad origin, an old version", [UP, CO, "Sec-WebSocket-Version: 8", K, BAD])
raw("door-origin-bad-post", "a bad origin, POST", [UP, CO, V, K, BAD], line="POST /connection/websocket HTTP/1.1")
raw("door-origin-bad", "a bad origin", [UP, CO, V, K, BAD])
raw("door-origin-two", "two origins, the first allowed", [UP, CO, V, K, OK, BAD])
raw("door-origin-two-bad", "two origins, the first bad", [UP, CO, V, K, BAD, OK])
raw("door-origin-empty", "an empty origin", [UP, CO, V, K, "Origin: "])
raw("door-post-no-upgrade", "POST without an Upgrade header", [CO, V, K], line="POST /connection/websocket HTTP/1.1")
raw("door-put", "PUT", [UP, CO, V, K], line="PUT /connection/websocket HTTP/1.1")
raw("door-version-list", "two versions", [UP, CO, "Sec-WebSocket-Version: 8, 13", K])
raw("door-version-lines", "two versions on two lines", [UP, CO, "Sec-WebSocket-Version: 8", "Sec-WebSocket-Version: 13", K])
raw("door-version-14", "a version to come", [UP, CO, "Sec-WebSocket-Version: 14", K])
raw("door-version-013", "a version with a zero", [UP, CO, "Sec-WebSocket-Version: 013", K])
raw("door-connection-list", "Connection: keep-alive, Upgrade", [UP, "Connection: keep-alive, Upgrade", V, K])
raw("door-connection-lines", "Connection on two lines", [UP, "Connection: keep-alive", "Connection: Upgrade", V, K])
raw("door-connection-quoted", "Connection in quotes", [UP, 'Connection: "upgrade"', V, K])
raw("door-upgrade-list", "Upgrade: h2c, websocket", ["Upgrade: h2c, websocket", CO, V, K])
raw("door-upgrade-version", "Upgrade: websocket/13", ["Upgrade: websocket/13", CO, V, K])
raw("door-upgrade-case", "Upgrade: WebSocket", ["Upgrade: WebSocket", CO, V, K])
raw("door-key-two", "two keys", [UP, CO, V, K, K])
raw("door-key-spaces", "a key with spaces around it", [UP, CO, V, "Sec-WebSocket-Key:   dGhlIHNhbXBsZSBub25jZQ==  "])
raw("door-key-unpadded", "a key without padding", [UP, CO, V, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"])
raw("door-key-bits", "a key with spare bits", [UP, CO, V, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR=="])
raw("door-escaped", "an escaped path", [UP, CO, V, K], line="GET /connection/web%73ocket HTTP/1.1")
raw("door-double-slash", "a doubled slash", [UP, CO, V, K], line="GET //connection/websocket HTTP/1.1")
raw("door-absolute", "an absolute URL", [UP, CO, V, K], line="GET http://x/connection/websocket HTTP/1.1")
raw("door-body", "a body announced", [UP, CO, V, K, "Content-Length: 0"])
for n, o in [("wild-port", "https://a.wild.example:8443"), ("wild-suffix", "https://a.wild.example.evil"), ("wild-slash", "https://evil/.wild.example"), ("trailing-slash", "https://ok.example/"), ("user", "https://user@ok.example"), ("wild-upper", "https://A.WILD.EXAMPLE"), ("wild-user", "https://evil@a.wild.example"), ("space", "https://ok.example https://bad.example"), ("bare", "ok.example"), ("wild-empty-label", "https://a..wild.example"), ("file", "file://")]:
    shake("door-origin-" + n, f"origin: {n}", origin=o)
for n, p in [("chat", ["chat"]), ("upper", ["CENTRIFUGE-JSON"]), ("twice", ["centrifuge-json", "centrifuge-json"])]:
    @case("http-door-subprotocol-" + n, f"subprotocols {p}", "§1.1", pb=False)
    async def _(t, p=p):
        a = await t.ws(subprotocols=p)
        if a:
            t.note("subprotocol", a.ws.subprotocol)
            await a.send({"id": 1, "connect": {}})
            await a.reply(1)
            await a.closed(0.2)

@case("http-door-no-host-get", "no Host, GET", "§22", pb=False)
async def _(t):
    await t.raw_http("GET /health HTTP/1.1\r\n\r\n")

@case("http-door-two-hosts", "two Host headers", "§22", pb=False)
async def _(t):
    await t.raw_http("GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")

@case("http-door-empty-host", "an empty Host header", "§22", pb=False)
async def _(t):
    await t.raw_http("GET /health HTTP/1.1\r\nHost:\r\n\r\n")

@case("http-door-star", "OPTIONS *", "§22", pb=False)
async def _(t):
    await t.raw_http("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")

@case("http-door-chunked", "a chunked body", "§17.1", pb=False)
async def _(t):
    await t.raw_http("POST /api/channels HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n{\"pattern\":\"zz-none\"}\r\n0\r\n\r\n")

@case("http-door-long-header", "a header of 20,000 bytes", "§22", pb=False)
async def _(t):
    await t.raw_http("GET /health HTTP/1.1\r\nHost: x\r\nX: " + "y" * 20000 + "\r\n\r\n")

@case("http-door-lf", "line feeds alone", "§22", pb=False)
async def _(t):
    await t.raw_http("GET /health HTTP/1.1\nHost: x\n\n")
