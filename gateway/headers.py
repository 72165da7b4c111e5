"""Heads, strictly: one canonical request head in, one upstream head built from scratch, one answer head mapped back.

Ambiguous means refused: what two parsers could read differently never reaches policy or the CRM
(CVE-2021-29492, CVE-2025-64484 and their family). A client header that names an identity, an
address or another method does not reach the CRM, in whatever spelling.
"""

import hashlib
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Any

from gateway.block import Block
from gateway.exchange import Exchange, Head
from gateway.frame_rule import OWN, frame_rule
from gateway.identity.bearing import Bearing, flat
from gateway.network import Tenant
from gateway.refusal import AMBIGUOUS_FRAMING, METHOD_REFUSED, Refusal
from gateway.target import split_target

TARGET = "crmgate.target"  # scope key: the raw request target
MEMORY = "crmgate.memory"  # scope key: the Memory of the connection
RESPOND = "crmgate.respond"  # scope key: answers whole and at once, see gateway.cycle.Cycle.respond
CERTIFICATE = "crmgate.certificate"  # scope key: SHA-256 in hex of the client's certificate, "" without one
SESSION_COOKIE = "__Host-crmgate"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CODINGS = ("gzip", "br", "zstd")  # what gateway/stream.py can decode

_HARMLESS = frozenset({None, "keep-alive", "Keep-Alive", "close"})  # values of Connection that name no field
HOP_BY_HOP = frozenset(  # RFC 9110 §7.6.1, and what belongs to this connection only
    (
        "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "http2-settings", "expect",
    )
)  # fmt: skip
_OURS = frozenset(  # built here: a request body goes on without the coding it came in
    {"host", "origin", "referer", "cookie", "content-length", "content-type", "content-encoding", "accept-encoding"}
)
_CONDITIONAL = frozenset({"if-none-match", "if-modified-since", "if-range", "range", "if-match", "if-unmodified-since"})
_IDENTITY = frozenset(
    (
        "forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "client-ip",
        "x-host", "x-scheme", "x-http-host-override", "x-http-method", "x-http-method-override", "x-method-override",
        "x-rewrite-url", "x-user", "x-email", "x-groups", "x-username", "remote-user", "remote-addr", "proxy",
        "x-proxyuser-ip", "x-wap-profile", "x-arr-clientcert", "x-client-cert", "x-url-scheme", "front-end-https",
        "x-request-uri", "x-accel-redirect", "x-sendfile", "x-script-name", "script-name", "path-info", "x-prefix",
    )
)  # fmt: skip
_IDENTITY_PREFIXES = (
    "x-forwarded", "x-remote-", "x-original-", "x-auth-", "x-authenticated", "x-webauth-", "x-goog-authenticated",
    "x-amzn-oidc", "x-ms-client-principal", "x-envoy-", "x-ssl-", "ssl-", "x-crmgate", "crmgate-", "cf-", "x-azure-",
    "fastly-", "x-vouch-", "x-authentik", "x-pomerium-",
)  # fmt: skip

_ANSWER_DROPPED = HOP_BY_HOP | {
    "server",
    "x-powered-by",
    "strict-transport-security",
    "content-length",
    "alt-svc",
    "date",
}
_LOOKED_INTO_DROPPED = frozenset(  # they describe the body or its caching as the CRM sent it
    (
        "content-encoding", "etag", "last-modified", "content-md5", "digest", "content-digest", "repr-digest",
        "accept-ranges", "content-range", "cache-control", "expires", "pragma", "age", "vary", "surrogate-control",
    )
)  # fmt: skip
_GUARDED = frozenset({"x-content-type-options", "referrer-policy", "x-frame-options", "content-security-policy"})
_GUARDS = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("x-frame-options", "SAMEORIGIN"),
    ("content-security-policy", OWN),
)
HSTS = "max-age=31536000"  # no preload, no subdomains: a gateway must not bind hosts it does not own
_GUARDS_SECURE = (("strict-transport-security", HSTS), *_GUARDS)


def parse(scope: Any) -> Head:
    """The canonical head of a request.

    Raises Refusal: AMBIGUOUS_PATH, AMBIGUOUS_FRAMING, MALFORMED_REQUEST, METHOD_REFUSED, UPGRADE_REFUSED.
    """
    method = scope["method"]
    if method not in METHODS:
        raise Refusal(METHOD_REFUSED)
    memory, raw = scope.get(MEMORY), scope["headers"]
    block = Block(raw) if memory is None else memory.block(raw)
    target, path, query = split_target(scope[TARGET].decode("latin-1"), block.host)
    return Head(
        method, target, path, query, block.host, block.fields, block.has_body, block.content_length, block.named, block
    )


def cookies(head: Head) -> list[tuple[str, str]]:
    """Every cookie pair of the request, in order (RFC 6265 §4.2.1)."""
    if head.block is not None and head.block.pairs is not None:
        return head.block.pairs
    pairs = []
    for value in head.all("cookie"):
        for part in value.split(";"):
            name, mark, text = part.strip(" \t").partition("=")
            if mark:
                pairs.append((name, text))
    if head.block is not None:
        head.block.pairs = pairs
    return pairs


def session_token(pairs: Iterable[tuple[str, str]]) -> str | None:
    """The token of our session cookie; two of them are refused (AMBIGUOUS_FRAMING)."""
    found = None
    for name, value in pairs:
        if name == SESSION_COOKIE:
            if found is not None:
                raise Refusal(AMBIGUOUS_FRAMING, detail="cookie")
            found = value
    return found


def crm_tokens(
    session_cookies: Collection[str],
    head: Head,
    pairs: Iterable[tuple[str, str]],
    others: Collection[str] = (),
) -> dict[str, str]:
    """Where the CRM's own credentials stand (a header or cookie name) → SHA-256 of each, in hex.

    others: header fields beside `authorization` that hold one.
    """
    found = {}
    if session_cookies:
        found = {name: _digest(value) for name, value in pairs if name in session_cookies and value}
    if (credentials := head.first("authorization")) is not None:
        found["authorization"] = _digest(credentials.partition(" ")[2].strip() or credentials)
    for name in others:
        if (credential := head.first(name)) is not None and credential.strip():
            found[name] = _digest(credential.strip())
    return found


def token_digest(token: str) -> str:
    """What the deny list keeps of a CRM credential that stands in a body: SHA-256 in hex."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("latin-1")).hexdigest()


@lru_cache(maxsize=4096)
def is_ours(cookie: str) -> bool:
    """True for cookies of the gateway, which the CRM neither gets nor sets."""
    return "crmgate" in cookie.lower()


@lru_cache(maxsize=4096)
def _passing(name: str) -> str:
    """The start of the line with which a client's field goes to the CRM; "" for a field that does not."""
    plain = name.replace("_", "-")  # WSGI servers make no difference (CVE-2025-64484)
    stops = (
        plain in HOP_BY_HOP
        or plain in _OURS
        or plain in _IDENTITY
        or plain.startswith(_IDENTITY_PREFIXES)
        or plain in _CONDITIONAL
    )
    return "" if stops else f"{name}: "


def upstream_headers(
    head: Head,
    exchange: Exchange,
    tenant: Tenant,
    *,
    target: str,
    length: int | None,
    pairs: Iterable[tuple[str, str]] = (),
    content_type: str | None = None,
    referer: str | None = None,
    asset: bool = False,
    withheld: Collection[str] = (),
) -> bytes:
    """The request head for the CRM, complete with its empty line.

    pairs: the cookies of the request; withheld: those of the CRM that ended with a session of ours. length: bytes of
    the body; None with a body of unknown length (head.has_body) means chunked. asset: nothing looks into the answer, so
    conditions, ranges and codings may pass. Raises ValueError for what would break the head.
    """
    if content_type is not None or referer is not None:
        _require_line(content_type or "")
        _require_line(referer or "")
    _require_line(target)
    out = [f"{head.method} {target} HTTP/1.1\r\n"]
    block, bearing = head.block, exchange.bearing
    if bearing is not None:
        out += _fields_for(
            head,
            tenant,
            pairs,
            asset=asset,
            content_type=content_type,
            referer=referer,
            withheld=withheld,
            bearing=bearing,
        )
    elif block is not None and pairs is block.pairs and content_type is None and referer is None and not withheld:
        lines = block.lines
        if lines is None or lines[0] is not tenant or lines[1] is not asset:
            block.lines = lines = (tenant, asset, "".join(_fields_for(head, tenant, pairs, asset=asset)))
        out.append(lines[2])
    else:
        out += _fields_for(
            head, tenant, pairs, asset=asset, content_type=content_type, referer=referer, withheld=withheld
        )
    if length is not None and (length or head.has_body or head.method in ("POST", "PUT", "PATCH")):
        out.append(f"content-length: {length}\r\n")
    elif length is None and head.has_body:
        out.append("transfer-encoding: chunked\r\n")
    if tenant.forward_client:
        out.append(_forwarded(exchange.client_address, tenant))
    out.append("\r\n")
    return "".join(out).encode("latin-1")


def _require_line(text: str) -> None:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a target or header value that would not stay on its line")


def _fields_for(
    head: Head,
    tenant: Tenant,
    pairs: Iterable[tuple[str, str]],
    *,
    asset: bool,
    content_type: str | None = None,
    referer: str | None = None,
    withheld: Collection[str] = (),
    bearing: Bearing | None = None,
) -> list[str]:
    """The client's fields as lines for the CRM, without those about its body."""
    origins = tenant.origins
    out = [f"host: {origins.upstream_host}\r\n"]
    named = _named_by_connection(head)
    stays = bearing.drops.union(map(flat, tenant.profile.credential_headers)) if bearing is not None else ()
    for name, value in head.headers:
        if line := _passing(name):
            if name not in named and not (stays and flat(name) in stays):
                out.append(f"{line}{value}\r\n")
        elif name == "origin":
            out.append(f"origin: {origins.upstream if value.lower() == origins.public else value}\r\n")
        elif name == "referer":
            if (mapped := referer if referer is not None else _referer(value, tenant)) is not None:
                out.append(f"referer: {mapped}\r\n")
        elif name == "content-type":
            out.append(f"content-type: {content_type if content_type is not None else value}\r\n")
        elif asset and name == "accept-encoding":
            out.append(f"accept-encoding: {_codings(value)}\r\n")
        elif asset and name in _CONDITIONAL:
            out.append(f"{name}: {value}\r\n")
    if not asset:
        out.append("accept-encoding: identity\r\n")  # an answer we have to read would only be packed to be unpacked
    jar = [f"{name}={value}" for name, value in pairs if not is_ours(name) and name not in withheld]
    if bearing is not None:
        jar += [f"{name}={value}" for name, value in bearing.cookies]
        out.append(bearing.lines)
    if jar:
        out.append(f"cookie: {'; '.join(jar)}\r\n")
    return out


def _forwarded(client: str, tenant: Tenant) -> str:
    origins = tenant.origins
    return (
        f"x-forwarded-for: {client}\r\nx-forwarded-proto: {origins.public_scheme}\r\n"
        f"x-forwarded-host: {origins.public_host}\r\n"
    )


def _named_by_connection(head: Head) -> frozenset[str]:
    """Fields that the client calls hop-by-hop; those we build ourselves are never among the ones looked at."""
    if head.named.get("connection") in _HARMLESS and len(head.all("connection")) <= 1:
        return frozenset()
    return frozenset(token.strip().lower() for text in head.all("connection") for token in text.split(","))


def _referer(value: str, tenant: Tenant) -> str | None:
    """The Referer as the CRM expects it: its own origin, without the query, in which clear search terms may stand."""
    public = tenant.origins.public
    if value[: len(public)].lower() != public or value[len(public) : len(public) + 1] not in ("/", "?", ""):
        return None
    return tenant.origins.upstream + (value[len(public) :].partition("?")[0] or "/")


def _codings(accept: str) -> str:
    wanted = [
        coding
        for part in accept.lower().split(",")
        if (coding := part.partition(";")[0].strip()) in CODINGS and "q=0" not in part.replace("q=0.", "")
    ]
    return ", ".join(wanted) or "identity"


@lru_cache(maxsize=4096)
def _answer_name(raw: bytes) -> str:
    """The name of an answer's field as text; "" for one that does not leave."""
    name = raw.decode("ascii")
    return "" if name in _ANSWER_DROPPED else name


def answer_fields(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Header fields of an answer as text: hop-by-hop and the server's own gone, duplicates kept."""
    fields: list[tuple[str, str]] = []
    named: set[str] = set()
    for key, value in raw:
        if name := _answer_name(key):
            fields.append((name, value.decode("latin-1")))
        elif key == b"connection" and value.lower() not in (b"close", b"keep-alive"):
            named.update(token.strip().lower() for token in value.decode("latin-1").split(","))
    return [pair for pair in fields if pair[0] not in named] if named else fields


def looked_into(fields: Iterable[tuple[str, str]], *, secure: bool) -> list[tuple[str, str]]:
    """Fields for a body the gateway has read: nothing about the CRM's own bytes stays, and nobody may keep a copy."""
    kept = [pair for pair in fields if pair[0] not in _LOOKED_INTO_DROPPED]
    kept.append(("cache-control", "private, no-store"))
    _guard(kept, secure=secure)
    return kept


def streamed_past(fields: Iterable[tuple[str, str]], *, secure: bool) -> list[tuple[str, str]]:
    """Fields for a body nobody looked into: validators stay, but only the person's own browser may keep it."""
    kept: list[tuple[str, str]] = []
    cache = "private"
    for name, value in fields:
        if name == "cache-control":
            parts = [part.strip() for part in value.lower().split(",")]
            kept_parts = [part for part in parts if part and part not in ("public", "private")]
            cache = ", ".join(["private", *(part for part in kept_parts if not part.startswith("s-maxage"))])
        elif name != "surrogate-control":
            kept.append((name, value))
    kept.append(("cache-control", cache))
    _guard(kept, secure=secure)
    return kept


def _guard(fields: list[tuple[str, str]], *, secure: bool) -> None:
    """Headers the gateway owns; frame and referrer rules of the CRM stay when it has some."""
    names = dict(fields)
    if _GUARDED.isdisjoint(names):
        fields += _GUARDS_SECURE if secure else _GUARDS
        return
    if secure:
        fields.append(("strict-transport-security", HSTS))
    if "x-content-type-options" not in names:
        fields.append(("x-content-type-options", "nosniff"))
    if "referrer-policy" not in names:
        fields.append(("referrer-policy", "same-origin"))
    rule = frame_rule(fields)
    if rule is not None:
        fields.append(("content-security-policy", rule))


@lru_cache(maxsize=1024)
def _encoded_name(name: str) -> bytes:
    return b"" if name == "content-length" else name.encode("latin-1")


def encode(fields: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Fields as the listener takes them; Content-Length is left to who knows the body."""
    return [(key, value.encode("latin-1")) for name, value in fields if (key := _encoded_name(name))]
