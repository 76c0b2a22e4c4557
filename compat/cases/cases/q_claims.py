"""Tokens read to the letter: names in other cases, doubled, times out of range, line breaks, odd roots (§3, §4, §5)."""
import base64
import time

from lib import b64u, case, jwt, now, sign

from cases.o_tokens import token

# Names of claims and of header fields.
token("case-sub", "Sub", '{"Sub":"someone-of-the-claims"}', presence=True)
token("case-sub-upper", "SUB", '{"SUB":"someone-of-the-claims"}', presence=True)
token("case-exp-past", "EXP in the past", {"EXP": 5})
token("case-exp-future", "EXP ahead", {"EXP": now(3600)})
token("case-nbf", "Nbf ahead", {"Nbf": now(3600)})
token("case-iat", "Iat of the wrong type", {"Iat": "x"})
token("case-expire-at", "Expire_At", {"Expire_At": now(600)})
token("case-expire-at-camel", "expireAt is another name", {"expireAt": now(600)})
token("case-info", "Info", {"Info": {"a": 1}}, presence=True)
token("case-b64info", "B64Info", {"B64Info": base64.b64encode(b'{"b":2}').decode()}, presence=True)
token("case-channel", "Channel", {"Channel": "open:x"})
token("case-channels", "Channels", lambda t: t.tok(Channels=[t.ch("open")]))
token("case-subs", "Subs", lambda t: t.tok(Subs={t.ch("open"): {}}))
token("case-subs-data", "Data within subs", lambda t: t.tok(subs={t.ch("open"): {"Data": {"a": 1}}}))
token("case-subs-override", "Override within subs, Value within it", lambda t: t.tok(subs={t.ch("hist"): {"Override": {"Force_Positioning": {"Value": True}}}}))
token("case-aud", "Aud of the wrong type", {"Aud": 5})
token("case-iss", "ISS of the wrong type", {"ISS": 5})
token("case-escape", "an escaped name", '{"\\u0073ub":"someone-of-the-claims"}', presence=True)
token("case-meta", "Meta of any type", {"Meta": "x"})
token("case-long-s", "a name with a letter that folds to s", '{"\u017fub":"someone-of-the-claims"}', presence=True)
token("case-kelvin", "a name with a letter that folds to k, of no claim", '{"sub":"someone-of-the-claims","\u212aid":5}', presence=True)
token("header-case-alg", "ALG", header={"ALG": "HS256", "typ": "JWT"}, ref="§4")
token("header-case-typ", "TYP of the wrong type", header={"alg": "HS256", "TYP": 5}, ref="§4")
token("header-null", "a header that is null", lambda t: b64u(b"null") + "." + b64u(b"{}") + ".AA", ref="§4")
token("header-crit", "a critical extension that nobody knows", header={"alg": "HS256", "crit": ["x"], "x": 1}, ref="§4")
token("header-typ-number", "typ a number", header={"alg": "HS256", "typ": 5}, ref="§4")
token("header-kid-number", "kid a number", header={"alg": "HS256", "kid": 5}, ref="§4")
token("header-deep", "a deep member of the header", header={"alg": "HS256", "x": [[[[[[[[[[1]]]]]]]]]]}, ref="§4")


def spelled(name, intent, head, body):
    """A good signature over these very texts."""
    def make(t):
        text = b64u(head.encode()) + "." + b64u(body.encode())
        return text + "." + b64u(sign("HS256", "secret", text.encode()))
    token(name, intent, make, ref="§4")


HEAD, BODY = '{"alg":"HS256","typ":"JWT"}', '{"sub":"someone-of-the-claims"}'
spelled("header-space", "white space around the header", ' {"alg" : "HS256"}\n', BODY)
spelled("header-trailing", "something behind the header", HEAD + "x", BODY)
spelled("header-empty", "an empty header", "", BODY)
spelled("header-array", "a header that is a list", "[]", BODY)
spelled("payload-number", "claims that are a number", HEAD, "5")
spelled("payload-true", "claims true", HEAD, "true")
spelled("payload-null-space", "claims null, with white space", HEAD, " null ")
spelled("payload-bom", "a byte order mark before the claims", HEAD, "\ufeff" + BODY)
spelled("payload-lone-surrogate", "half a surrogate pair in sub", HEAD, '{"sub":"someone-\\ud800"}')
spelled("payload-control", "a control character in sub", HEAD, '{"sub":"some\u0001one"}')
spelled("payload-deep", "claims forty levels deep", HEAD, '{"sub":"someone-of-the-claims","x":' + "[" * 40 + "]" * 40 + "}")

# Times.
for n, v in [("1e18", 10**18), ("i64-max", 2**63 - 1), ("i64-over", 2**63), ("u64-max", 2**64 - 1), ("1e19", 10**19), ("minus-huge", -10**30), ("1e11", 10**11), ("year-9999", 253402300799), ("year-10000", 253402300800)]:
    token("exp-" + n, f"exp {v}", {"exp": v})
for n, v in [("1e400", "1e400"), ("4e9", "4e9"), ("exponent", "4102444800e0"), ("minus-zero", "-0"), ("leading-zero", "04102444800"), ("plus", "+4102444800"), ("hex", "0xF4865700"), ("quoted-float", '"4102444800.5"'),
             ("quoted-exp", '"4e9"'), ("quoted-empty", '""'), ("quoted-space", '" 4102444800"'), ("array", "[4102444800]"), ("object", "{}"), ("half", "4102444800.999999999999")]:
    token("exp-text-" + n, f"exp {v}", '{"sub":"someone-of-the-claims","exp":' + v + "}")
for n, v in [("huge", 10**30), ("minus-huge", -10**30), ("1e19", 10**19), ("i64-max", 2**63 - 1)]:
    token("nbf-" + n, f"nbf {v}", {"nbf": v})
    token("iat-" + n, f"iat {v}", {"iat": v})
for n, v in [("huge", 10**30), ("i64-max", 2**63 - 1), ("float", 4102444800.5), ("float-whole", 4102444800.0), ("bool", True), ("u32-over", 2**32 + 4102444800)]:
    token("expire_at-" + n, f"expire_at {v}", {"expire_at": v})

# Names that come twice.
for n, v in [("sub-same", '{"sub":"someone-of-the-claims","sub":"someone-of-the-claims"}'), ("exp", '{"sub":"someone-of-the-claims","exp":5,"exp":4102444800}'), ("unknown", '{"sub":"someone-of-the-claims","x":1,"x":2}'),
             ("other-case", '{"sub":"someone-of-the-claims","Sub":"another-of-the-claims"}')]:
    token("dup-" + n, f"doubled claim: {n}", v)


def broken(name, intent, cut):
    """A good token with a line break put into it."""
    token("newline-" + name, intent, lambda t: cut(t.tok()), ref="§3,§4")


broken("leading", "before it", lambda x: "\n" + x)
broken("crlf", "a carriage return and a line feed behind it", lambda x: x + "\r\n")
broken("in-signature", "within the signature", lambda x: x[:-9] + "\n" + x[-9:])
broken("in-payload", "within the claims, which the signature is not over", lambda x: x[:60] + "\n" + x[60:])
broken("in-header", "within the header, which the signature is not over", lambda x: x[:9] + "\n" + x[9:])
broken("tab", "a tab behind it", lambda x: x + "\t")


@case("token-newline-signed", "line breaks that the signature is over", "§4")
async def _(t):
    text = b64u(b'{"alg":"HS256"}')[:8] + "\n" + b64u(b'{"alg":"HS256"}')[8:] + "." + b64u(b'{"sub":"someone-of-the-claims"}')[:8] + "\n" + b64u(b'{"sub":"someone-of-the-claims"}')[8:]
    await t.client(token=text + "." + b64u(sign("HS256", "secret", text.encode())))


# Subscription tokens, and refreshing.

def subtoken(name, intent, make, ns="$open"):
    async def go(t):
        ch = "$" + t.ch(ns[1:]) if ns[0] == "$" else t.ch(ns)
        a = await t.client()
        await a.sub(ch, token=make(t, ch))
        await t.api("presence", channel=ch)
    from lib import add
    add("subtok-" + name, intent, "§5", go)


subtoken("case-channel", "Channel", lambda t, ch: jwt({"sub": t.user, "Channel": ch}))
subtoken("case-sub", "Sub", lambda t, ch: jwt({"Sub": t.user, "channel": ch}))
subtoken("case-info", "Info", lambda t, ch: t.subtok(ch, Info={"a": 1}), ns="$pres")
subtoken("case-exp", "Exp in the past", lambda t, ch: t.subtok(ch, Exp=5))
subtoken("case-client", "Client of another", lambda t, ch: t.subtok(ch, Client="zz"))
subtoken("case-override", "Override", lambda t, ch: t.subtok(ch, Override={"presence": {"value": True}}))
subtoken("null-payload", "claims null", lambda t, ch: jwt("null"))
subtoken("newline", "a line feed behind it", lambda t, ch: t.subtok(ch) + "\n")
subtoken("exp-huge", "exp huge", lambda t, ch: t.subtok(ch, exp=10**30))
subtoken("exp-float", "exp with a fraction", lambda t, ch: t.subtok(ch, exp=time.time() + 600.5))
subtoken("info-and-b64info", "both", lambda t, ch: t.subtok(ch, info={"a": 1}, b64info=base64.b64encode(b'{"b":2}').decode()), ns="$pres")
subtoken("data-and-b64data", "both", lambda t, ch: t.subtok(ch, data={"a": 1}, b64data=base64.b64encode(b'{"b":2}').decode()))
subtoken("data-string", "data a string", lambda t, ch: t.subtok(ch, data="x"))
subtoken("data-null", "data null", lambda t, ch: t.subtok(ch, data=None))
subtoken("info-number", "info a number", lambda t, ch: t.subtok(ch, info=5), ns="$pres")
subtoken("expire-at-negative", "expire_at -1", lambda t, ch: t.subtok(ch, expire_at=-1))
subtoken("exp-far", "an end in three years: all of it is told", lambda t, ch: t.subtok(ch, exp=now(3 * 365 * 86400)))
subtoken("override-null", "override null", lambda t, ch: t.subtok(ch, override=None))
subtoken("override-value-null", "an override without a value", lambda t, ch: t.subtok(ch, override={"presence": {}}), ns="$pres")
subtoken("override-null-inside", "an override that is null", lambda t, ch: t.subtok(ch, override={"presence": None}), ns="$pres")


@case("refresh-twice", "two refreshes, one after another", "§3")
async def _(t):
    a = await t.client(claims={"exp": now(3600)})
    await a.cmd("refresh", token=t.tok(exp=now(7200)))
    await a.cmd("refresh", token=t.tok(exp=now(600)))


@case("refresh-then-presence", "a refresh with another info: what others see", "§3,§15")
async def _(t):
    a, ch = await t.client(claims={"exp": now(3600), "info": {"v": 1}}), t.ch("pres")
    await a.sub(ch)
    await a.cmd("refresh", token=t.tok(exp=now(7200), info={"v": 2}))
    await t.settle(1.4)
    await t.api("presence", channel=ch)


@case("refresh-then-publish", "a refresh with another info: what a publication tells", "§3,§11")
async def _(t):
    a, ch = await t.client(claims={"exp": now(3600), "info": {"v": 1}}), t.ch("pub")
    await a.sub(ch)
    await a.cmd("refresh", token=t.tok(exp=now(7200), info={"v": 2}))
    await a.pub(ch, {"n": 1})
    await t.settle(0.2)


@case("refresh-then-subscribe", "a refresh with another info: what a later join tells", "§3,§15")
async def _(t):
    a, b, ch = await t.client(claims={"exp": now(3600), "info": {"v": 1}}), await t.client("w-" + t.tag()), t.ch("pres")
    await b.sub(ch, join_leave=True)
    await a.cmd("refresh", token=t.tok(exp=now(7200), info={"v": 2}))
    await a.sub(ch)
    await t.settle(0.2)


@case("token-refusal-then-commands", "commands after a refused login", "§2,§3")
async def _(t):
    a = await t.ws()
    await a.send({"id": 1, "connect": {"token": t.tok(exp=5)}})
    await a.reply(1)
    await a.send({"id": 2, "subscribe": {"channel": t.ch("open")}})
    await a.closed(0.6)


@case("token-refusal-same-frame", "a refused login and commands in one frame", "§2,§3")
async def _(t):
    a = await t.ws()
    await a.send({"id": 1, "connect": {"token": t.tok(exp=5)}}, {"id": 2, "subscribe": {"channel": t.ch("open")}}, {"id": 3, "connect": {}})
    await a.closed(0.6)


@case("token-refusal-garbage", "garbage after a refused login", "§2,§3", pb=False)
async def _(t):
    a = await t.ws()
    await a.send({"id": 1, "connect": {"token": t.tok(exp=5)}})
    await a.reply(1)
    await a.raw("hello")
    await a.closed(0.6)


@case("token-refusal-pong", "a pong after a refused login", "§2,§3", pb=False)
async def _(t):
    a = await t.ws()
    await a.send({"id": 1, "connect": {"token": t.tok(exp=5)}})
    await a.reply(1)
    await a.raw("{}")
    await a.closed(0.6)


@case("token-refusal-empty-frame", "an empty frame after a refused login", "§2,§3", pb=False)
async def _(t):
    a = await t.ws()
    await a.send({"id": 1, "connect": {"token": t.tok(exp=5)}})
    await a.reply(1)
    await a.raw("")
    await a.closed(0.6)
