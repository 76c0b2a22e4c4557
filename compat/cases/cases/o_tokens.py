"""Connection tokens: claims, algorithms, envelopes; logging in without one (§3, §4, §6)."""
import base64
import json
import time

import testkeys
from lib import DEL, add, b64u, case, jwt, now


def token(name, intent, claims=None, ref="§3", user=None, presence=False, **kw):
    """A login with a token of these claims (dict, text, or a function of T that gives the whole token)."""
    async def go(t):
        if callable(claims):
            made = claims(t)
        elif isinstance(claims, str):
            made = jwt(claims, **kw)
        else:
            c = {"sub": t.user if user is None else user, **(claims or {})}
            made = jwt({k: v for k, v in c.items() if v is not DEL}, **kw)
        a = await t.client(token=made)
        if presence and a and a.client:
            ch = t.ch("pres")
            await a.sub(ch)
            await t.api("presence", channel=ch)
        await t.settle(0.1)
    add("token-" + name, intent, ref, go)


token("plain", "sub alone")
token("sub-missing", "no sub", {"sub": DEL})
token("sub-empty", "an empty sub", {"sub": ""})
token("sub-null", "sub null", {"sub": None})
token("sub-number", "sub a number", {"sub": 42})
token("sub-object", "sub an object", {"sub": {}})
token("sub-long", "a sub of 1,000 bytes", {"sub": "u" * 1000})
token("sub-unicode", "a sub not in ASCII", {"sub": "\u00fcser \u2603"})
for n, v in [("future", now(3600)), ("past", now(-60)), ("zero", 0), ("negative", -5), ("null", None), ("string", "4102444800"), ("float", 4102444800.5), ("float-whole", 4102444800.0), ("far", 4102444800), ("huge", 10**30), ("bool", True)]:
    token("exp-" + n, f"exp {n}", {"exp": v})
for n, v in [("future", now(3600)), ("past", now(-60)), ("zero", 0), ("null", None), ("string", "soon"), ("float", now(-60) + 0.5)]:
    token("nbf-" + n, f"nbf {n}", {"nbf": v})
for n, v in [("future", now(3600)), ("past", now(-60)), ("string", "x"), ("float", 1700000000.5)]:
    token("iat-" + n, f"iat {n}", {"iat": v})
for n, v in [("future", now(600)), ("zero", 0), ("past", now(-60)), ("negative", -1), ("null", None), ("string", "x")]:
    token("expire_at-" + n, f"expire_at {n}", {"expire_at": v})
token("expire_at-zero-exp-past", "exp is checked all the same", {"expire_at": 0, "exp": now(-60)})
token("expire_at-wins", "expire_at and exp", {"expire_at": now(600), "exp": now(3600)})
token("expire_at-past-exp-future", "expire_at past, exp ahead", {"expire_at": now(-60), "exp": now(3600)})
for n, v in [("object", {"a": 1}), ("string", "x"), ("number", 5), ("null", None), ("array", [1]), ("false", False)]:
    token("info-" + n, f"info {n}", {"info": v}, presence=True)
token("b64info", "info in base64", {"b64info": base64.b64encode(b'{"a":1}').decode()}, presence=True)
token("b64info-wins", "info and b64info", {"info": {"a": 1}, "b64info": base64.b64encode(b'{"b":2}').decode()}, presence=True)
token("b64info-bad", "b64info that is none", {"b64info": "%%%"})
token("b64info-unpadded", "b64info without padding", {"b64info": base64.b64encode(b'{"a":12}').decode().rstrip("=")})
token("b64info-empty", "an empty b64info", {"info": {"a": 1}, "b64info": ""}, presence=True)
token("b64info-number", "b64info a number", {"b64info": 5})
for n, v in [("object", {"a": 1}), ("string", "x"), ("null", None)]:
    token("meta-" + n, f"meta {n}", {"meta": v})
for n, v in [("string", "x"), ("array", ["x", "y"]), ("number", 5), ("empty", "")]:
    token("aud-" + n, f"aud {n}, none expected", {"aud": v})
for n, v in [("string", "x"), ("number", 5), ("null", None)]:
    token("iss-" + n, f"iss {n}, none expected", {"iss": v})
token("jti-string", "jti", {"jti": "a"})
token("jti-number", "jti a number", {"jti": 5})
token("channel", "a subscription token", {"channel": "open:x"})
token("channel-empty", "an empty channel", {"channel": ""})
token("channel-null", "channel null", {"channel": None})
token("channel-number", "channel a number", {"channel": 5})
token("unknown-claim", "a claim that nobody knows", {"whatever": [1, {}]})
token("upper-claim", "names mind case", {"SUB": "x", "Exp": 1})
token("dup-sub", "sub twice", '{"sub":"a","sub":"b"}')
token("payload-array", "claims that are no object", "[1]")
token("payload-string", "claims that are a string", '"x"')
token("payload-null", "claims null", "null")
token("payload-empty", "no claims", "")
token("payload-space", "white space around the claims", ' {"sub":"somebody-of-the-token-cases"} ')
token("payload-trailing", "something behind the claims", '{"sub":"somebody-of-the-token-cases"}x')
token("payload-open", "claims cut short", '{"sub":"somebody-of-the-token-cases"')

for alg in ("HS256", "HS384", "HS512"):
    token("alg-" + alg.lower(), alg, alg=alg, ref="§4")
    token("alg-" + alg.lower() + "-wrong-key", f"{alg} by another key", alg=alg, key="other", ref="§4")
KEYS = {name: value for name, value in vars(testkeys).items() if isinstance(value, str) and "PRIVATE KEY" in value}
for name, key in KEYS.items():
    for alg in ("RS256", "RS384", "RS512", "PS256") if "RSA" in name.upper() else ("ES256",):
        token(f"alg-{alg.lower()}-{name.lower().replace('_', '-')}", f"{alg} with {name}", alg=alg, key=key, ref="§4")
token("alg-none", "none, without a signature", alg="none", ref="§4")
token("alg-none-signed", "none, with a signature", header={"alg": "none"}, ref="§4")
token("alg-missing", "no alg", header={"typ": "JWT"}, ref="§4")
token("alg-empty", "an empty alg", header={"alg": "", "typ": "JWT"}, ref="§4")
token("alg-lower", "hs256", header={"alg": "hs256", "typ": "JWT"}, ref="§4")
token("alg-number", "alg a number", header={"alg": 256, "typ": "JWT"}, ref="§4")
token("alg-unknown", "an unknown alg", header={"alg": "HS1", "typ": "JWT"}, ref="§4")
token("alg-claims-rs", "RS256 claimed over an HMAC", header={"alg": "RS256", "typ": "JWT"}, ref="§4")
token("typ-missing", "no typ", header={"alg": "HS256"}, ref="§4")
token("typ-other", "another typ", header={"alg": "HS256", "typ": "X"}, ref="§4")
token("typ-at-jwt", "typ at+jwt", header={"alg": "HS256", "typ": "at+jwt"}, ref="§4")
token("kid", "a kid, where no key set is", header={"alg": "HS256", "typ": "JWT", "kid": "x"}, ref="§4")
token("cty", "a cty", header={"alg": "HS256", "typ": "JWT", "cty": "JWT"}, ref="§4")
token("header-extra", "more in the header", header={"alg": "HS256", "typ": "JWT", "x": {"y": 1}}, ref="§4")


def bent(name, intent, bend, ref="§3,§4"):
    """A good token, bent."""
    token(name, intent, lambda t: bend(t.tok()), ref=ref)


def last_bits(t):
    """The last character of the signature changed in bits that base64 does not use."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return t[:-1] + alphabet[alphabet.index(t[-1]) ^ 1]


bent("empty-signature", "no signature", lambda t: t.rsplit(".", 1)[0] + ".")
bent("two-parts", "two parts", lambda t: t.rsplit(".", 1)[0])
bent("four-parts", "four parts", lambda t: t + ".x")
bent("one-part", "one part", lambda t: t.split(".")[0])
bent("dots", "dots alone", lambda t: "..")
bent("leading-space", "a space before it", lambda t: " " + t)
bent("trailing-space", "a space behind it", lambda t: t + " ")
bent("trailing-newline", "a newline behind it", lambda t: t + "\n")
bent("bearer", "Bearer before it", lambda t: "Bearer " + t)
bent("quoted", "in quotes", lambda t: f'"{t}"')
bent("padded", "base64 with padding", lambda t: ".".join(p + "=" * (-len(p) % 4) for p in t.split(".")))
bent("standard-base64", "the standard alphabet", lambda t: t.replace("-", "+").replace("_", "/") if set("-_") & set(t) else t + "+")
bent("flipped-bit", "one bit of the signature", lambda t: t[:-9] + ("A" if t[-9] != "A" else "B") + t[-8:])
bent("payload-changed", "claims changed afterwards", lambda t: t.split(".")[0] + "." + b64u(b'{"sub":"root"}') + "." + t.split(".")[2])
bent("garbage", "garbage", lambda t: "x")
bent("long", "60,000 bytes", lambda t: "a" * 60_000)
bent("null-byte", "a zero byte in it", lambda t: t + "\u0000")


@case("token-none", "no token", "§6")
async def _(t):
    await t.client("")


@case("token-empty", "an empty token", "§6")
async def _(t):
    await t.client(token="")


@case("token-anonymous-subscribes", "a token without sub in channels for clients and for anonymous", "§6,§9")
async def _(t):
    a = await t.client(token=jwt({}))
    await a.sub(t.ch("open"))
    await a.sub(t.ch("users"))


@case("token-connect-fields", "data, name and version beside the token", "§2,§3")
async def _(t):
    await t.client(data={"a": 1}, name="app", version="1.2")


@case("token-long-name", "a long name and version", "§2")
async def _(t):
    await t.client(name="n" * 100, version="v" * 300)


@case("token-after-refusal", "another token on the connection whose first one had expired", "§2,§3")
async def _(t):
    a = await t.ws()
    await a.send({"id": 1, "connect": {"token": t.tok(exp=int(time.time()) - 5)}})
    await a.reply(1)
    await a.send({"id": 2, "connect": {"token": t.tok()}})
    await a.reply(2)
    await t.settle(0.2)


@case("token-same-user-twice", "two connections of one user", "§3")
async def _(t):
    a, b = await t.client(), await t.client()
    t.note("ids differ", a.client != b.client)
