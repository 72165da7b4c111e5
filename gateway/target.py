"""The target of a request, strictly: origin-form, one reading of its path, plain escapes, no other method in it.

What two servers could read differently never reaches policy or the CRM (CVE-2021-29492, CVE-2025-64484 and their
family): dot segments, empty segments, encoded slashes, escapes of escapes, bytes that are not UTF-8.
"""

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from gateway.refusal import AMBIGUOUS_FRAMING, AMBIGUOUS_PATH, MALFORMED_REQUEST, METHOD_REFUSED, Refusal

_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/%|\[\]^]*\Z")  # RFC 3986 pchar, and what browsers leave unescaped
_QUERY = re.compile(r"[!$-;=?-~]*\Z")  # printable ASCII without space " # < >
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNSAFE_ESCAPE = re.compile(r"%(?:[01][0-9A-Fa-f]|2[Ff]|5[Cc]|7[Ff]|25(?:2[EeFf5]|5[Cc]|[01][0-9A-Fa-f]))")
_OVERRIDES = re.compile(r"(?:^|&)(?:_method|_httpmethod|x-http-method-override|x-http-method)=", re.IGNORECASE)
_SHORT_CHARS = 256  # of paths whose verdict is kept


def split_target(target: str, host: str) -> tuple[str, str, str]:
    """(origin-form target, path, query) of a sound request target.

    Raises Refusal: AMBIGUOUS_PATH, AMBIGUOUS_FRAMING, MALFORMED_REQUEST, METHOD_REFUSED.
    """
    target = _origin_form(target, host)
    path, mark, query = target.partition("?")
    if len(path) <= _SHORT_CHARS:
        _check_path_once(path)
    else:
        check_path(path)
    if mark:
        check_query(query)
    return target, path, query


def _origin_form(target: str, host: str) -> str:
    """Path and query of a request target; an absolute one must name the host of the Host field (RFC 9112 §3.2.2)."""
    if target.startswith("/"):
        return target
    scheme, mark, rest = target.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        raise Refusal(MALFORMED_REQUEST, detail="target")
    slash = rest.find("/")
    authority, path = (rest[:slash], rest[slash:]) if slash >= 0 else (rest, "/")
    if authority.lower() != host:
        raise Refusal(AMBIGUOUS_FRAMING, detail="host")
    return path


def check_path(path: str) -> None:
    """Refuse a path that two servers could read differently; raises Refusal(AMBIGUOUS_PATH or MALFORMED_REQUEST)."""
    if not _PATH.match(path):
        raise Refusal(MALFORMED_REQUEST, detail="path")
    if "//" in path:
        raise Refusal(AMBIGUOUS_PATH, detail="empty segment")
    if "%" in path:
        if _BAD_ESCAPE.search(path):
            raise Refusal(MALFORMED_REQUEST, detail="escape")
        if _UNSAFE_ESCAPE.search(path):
            raise Refusal(AMBIGUOUS_PATH, detail="escape")
        _require_utf8(path)
    if "." in path or "%2" in path:
        for segment in path.split("/"):
            # Some servers cut path parameters off before they resolve dots: `/..;/`.
            if segment.partition(";")[0].replace("%2e", ".").replace("%2E", ".") in (".", ".."):
                raise Refusal(AMBIGUOUS_PATH, detail="dot segment")


_check_path_once = lru_cache(maxsize=4096)(check_path)  # what is refused is asked again


def check_query(query: str) -> None:
    """Refuse a query that is not plain ASCII with proper escapes of UTF-8, or that names another method."""
    if not _QUERY.match(query):
        raise Refusal(MALFORMED_REQUEST, detail="query")
    if "%" in query:
        if _BAD_ESCAPE.search(query) or "%00" in query:
            raise Refusal(MALFORMED_REQUEST, detail="escape")
        _require_utf8(query)
    if "ethod" in query and _OVERRIDES.search(query):
        raise Refusal(METHOD_REFUSED)


def _require_utf8(text: str) -> None:
    try:
        unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(MALFORMED_REQUEST, detail="charset") from None
