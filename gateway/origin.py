"""The two origins of a CRM: the public one people type and the upstream one it believes in, mapped both ways.

An origin is found in every spelling a program writes it in: plain, scheme-relative, with JSON's `\\/` and `\\u002f`,
percent-encoded, with HTML entities. What replaces it is written in the same style, so that a JSON string stays one
and everything else stays byte-equal. A longer host or another port is another origin and stays.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

_SLASH = rb"(?:\\?/|\\u002[fF]|%2[fF]|%252[fF]|&#x2[fF];|&#47;|&sol;)"
_COLON = rb"(?::|\\u003[aA]|%3[aA]|%253[aA]|&#x3[aA];|&#58;|&colon;)"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_URL_FIELDS = frozenset(
    {"location", "content-location", "link", "refresh", "odata-entityid", "access-control-allow-origin"}
)
_REWRITTEN = (
    "text/html",
    "text/plain",
    "text/xml",
    "text/css",
    "json",
    "javascript",
    "xml",
    "x-www-form-urlencoded",
    "multipart/mixed",
)
_COOKIE_PREFIXES = ("__host-", "__secure-")


def _pattern(scheme: str, host: str, port: int | None) -> re.Pattern[bytes]:
    """Every spelling of one origin; groups: scheme, colon, first slash, second slash, host, colon of the port."""
    default = _DEFAULT_PORTS[scheme]
    name = re.escape(f"[{host}]" if ":" in host else host).encode("ascii")
    tail = rb"(?:(?P<p>" + _COLON + rb")" + str(port or default).encode() + rb")"
    if port is None or port == default:
        tail += rb"?"
    start = rb"(?:(?P<scheme>" + scheme.encode() + rb")(?P<colon>" + _COLON + rb")|(?<![\w:/.\\;-]))"
    # Not the beginning of a longer host or another port; `.` and `-` may end a sentence.
    end = rb"(?![\w@]|[.-][\w]|" + _COLON + rb"[0-9])"
    return re.compile(start + rb"(?P<s1>" + _SLASH + rb")(?P<s2>" + _SLASH + rb")" + name + tail + end, re.IGNORECASE)


class Origins:
    """The public and the upstream origin of one tenant."""

    def __init__(self, public: str, upstream: str) -> None:
        outer, inner = urlsplit(public.lower()), urlsplit(upstream.lower())
        for parts in (outer, inner):
            if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/") or parts.query:
                raise ValueError("an origin is http(s)://host[:port]")
        self.public = f"{outer.scheme}://{outer.netloc}"
        self.upstream = f"{inner.scheme}://{inner.netloc}"
        self.public_host, self.public_scheme = outer.netloc, outer.scheme
        self.upstream_host = inner.netloc
        self.secure = outer.scheme == "https"
        self._outward = _Mapping(inner.scheme, str(inner.hostname), inner.port, outer.scheme, outer.netloc)
        self._inward = _Mapping(outer.scheme, str(outer.hostname), outer.port, inner.scheme, inner.netloc)

    def to_public(self, data: bytes) -> bytes:
        """Upstream URLs in an answer become public ones."""
        return self._outward.apply(data)

    def to_upstream(self, data: bytes) -> bytes:
        """Public URLs in a request become upstream ones."""
        return self._inward.apply(data)

    def target_to_upstream(self, target: str) -> str:
        """The same for a request target."""
        if not self._inward.may_stand_in(data := target.encode("latin-1")):
            return target
        return self._inward.apply(data).decode("latin-1")

    def answer_fields(self, fields: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Header fields of an answer with URLs and cookies made public."""
        out = []
        for name, value in fields:
            if name == "set-cookie":
                if (cookie := map_cookie(value, secure=self.secure)) is not None:
                    out.append((name, cookie))
            elif name in _URL_FIELDS:
                out.append((name, self.to_public(value.encode("latin-1")).decode("latin-1")))
            else:
                out.append((name, value))
        return out


class _Mapping:
    """One direction."""

    def __init__(self, scheme: str, host: str, port: int | None, to_scheme: str, to_netloc: str) -> None:
        self._needle = host.encode("ascii")
        self._pattern = _pattern(scheme, host, port)
        self._scheme = to_scheme.encode()
        split = re.fullmatch(r"(.*?)(?::(\d+))?", to_netloc)
        assert split is not None
        self._name, self._port = split[1].encode(), (split[2] or "").encode()

    def may_stand_in(self, data: bytes) -> bool:
        """Cheap: whether the host occurs at all, in the lower case every program writes it in."""
        return self._needle in data

    def apply(self, data: bytes) -> bytes:
        """Replace every spelling, each in its own style."""
        return self._pattern.sub(self._replace, data) if self.may_stand_in(data) else data

    def _replace(self, match: re.Match[bytes]) -> bytes:
        first, second, colon = match["s1"], match["s2"], match["colon"]
        start = self._scheme + colon if colon is not None else b""
        end = (match["p"] or colon or _colon_like(first)) + self._port if self._port else b""
        return start + first + second + self._name + end


def _colon_like(slash: bytes) -> bytes:
    """A colon in the style of a slash."""
    if slash.startswith(b"%25"):
        return b"%253A"
    return b"%3A" if slash.startswith(b"%") else b":"


def map_cookie(value: str, *, secure: bool) -> str | None:
    """A CRM's Set-Cookie for the public host; None when it names a cookie of ours.

    Domain goes (the cookie belongs to the public host alone), Secure comes where the public side is https; Path,
    SameSite, HttpOnly and the rest stay as they are. RFC 6265bis §4.1.3: `__Host-` and `__Secure-` need Secure.
    """
    pair, *attributes = value.split(";")
    name = pair.partition("=")[0].strip().lower()
    if "crmgate" in name:
        return None
    kept = [pair.strip()]
    has_secure = False
    for attribute in attributes:
        key = attribute.partition("=")[0].strip().lower()
        if key == "domain":
            continue
        if key == "secure":
            has_secure = True
            if not secure and not name.startswith(_COOKIE_PREFIXES):
                continue  # a browser would not send it back over plain http
        kept.append(attribute.strip())
    if secure and not has_secure:
        kept.append("Secure")
    return "; ".join(part for part in kept if part)


@lru_cache(maxsize=1024)
def is_rewritten(content_type: str) -> bool:
    """Whether URLs inside a body of this type are mapped: pages, data and scripts, never exports or binaries."""
    lowered = content_type.lower()
    return any(part in lowered for part in _REWRITTEN) and "csv" not in lowered and "openxml" not in lowered
