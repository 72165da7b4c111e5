"""E-mail addresses in running text and as whole values, judged by syntax alone (RFC 5321 §4.1.2, RFC 5322 §3.4.1).

In running text the local part is what people really use: quotes and other punctuation of prose or of a filter language
are never swallowed. Addresses of our own making (surrogates, masks) are never reported.
"""

import re

LOCAL_MAX_OCTETS = 64  # RFC 5321 §4.5.3.1.1
ADDRESS_MAX_CHARS = 254  # RFC 5321 §4.5.3.1.3 less the angle brackets

# Accented Latin, Greek and Cyrillic letters may stand in a local part (RFC 6531); CJK letters end it in running text.
_LOCAL_CHARS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-&"
    + "".join(map(chr, range(0xC0, 0x250)))
    + "".join(map(chr, range(0x370, 0x530)))
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[A-Za-z]{{2,24}})(?![A-Za-z0-9])")
# In running text a label may hold CJK only in front of a top-level domain known to be written so: prose has no spaces.
_WIDE_LABEL = (
    r"[A-Za-z0-9\u00c0-\u024f\u0400-\u052f\u4e00-\u9fff](?:[A-Za-z0-9\u00c0-\u024f\u0400-\u052f\u4e00-\u9fff-]{0,20})"
)
_WIDE_DOMAIN = re.compile(
    rf"(?:{_WIDE_LABEL}\.){{1,4}}(?:中国|中國|公司|网络|網絡|网址|在线|中文网|香港|台湾|台灣|рф|[A-Za-z]{{2,24}}(?![A-Za-z0-9]))"
)
# A digit, or more letters than a top-level domain has, typed right behind: it ends after one that people really use.
_GLUED = re.compile(
    rf"(?:{_LABEL}\.){{1,8}}(?:(?:com|net|org|edu|gov|info|biz|asia|top|xyz|vip|club|shop|site|online|example)(?=[A-Za-z0-9])"
    r"|(?:cn|hk|tw|mo|sg|jp|kr|us|uk|de|fr|es|it|nl|be|ch|at|se|no|dk|fi|pl|cz|pt|ru|ua|in|au|nz|ca|br|mx|za|eu|io|co|me"
    r"|cc|tv|ai)(?=[0-9]))",
    re.IGNORECASE,
)
# `icon@2x.png`, `vue@next.js`: names of files, not of hosts.
_FILE_SUFFIX = re.compile(
    r"png|jpe?g|gif|svg|webp|avif|ico|s?css|less|[mc]?jsx?|tsx?|json|map|html|woff2?", re.IGNORECASE
)
_OURS = re.compile(r"e\.[a-z2-7]{32}@|[a-z0-9]\.[a-z2-7]{32}@(?:[^@]*\.)?masked\.invalid$", re.IGNORECASE)
_ATOM = re.compile(r"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\]]+")
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"')
_LITERAL = re.compile(r"\[(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|IPv6:[0-9A-Fa-f:.]{2,45})\]")
_UNICODE_LABEL = re.compile(r"[^\W_](?:[^\W_]|[-\u0300-\u036f\u200c\u200d]){0,62}")
_FULL_WIDTH_ONE = re.compile("[\uff01-\uff5e]")
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def find_at(text: str, at: int) -> tuple[int, int] | None:
    """Span of the address around the at sign at offset `at`, or None; looks at most 320 characters around."""
    head = text[max(0, at - LOCAL_MAX_OCTETS - 1) : at]
    tail = text[at + 1 : at + 1 + ADDRESS_MAX_CHARS]
    if not (head.isascii() and tail.isascii()) and (_FULL_WIDTH_ONE.search(head) or _FULL_WIDTH_ONE.search(tail)):
        head, tail = head.translate(_FULL_WIDTH), tail.translate(_FULL_WIDTH)
    local = head[len(head.rstrip(_LOCAL_CHARS)) :]
    local = local[local.rfind("..") + 2 :] if ".." in local else local
    local = local.lstrip(".-+&")
    if not local or len(local) > LOCAL_MAX_OCTETS:
        return None
    domain = _domain(tail)
    if domain is None or _FILE_SUFFIX.fullmatch(domain[0].rpartition(".")[2]):
        return None
    start = at - len(local)
    if _OURS.match(f"{local}@{domain[0]}") or _in_userinfo(text, start):
        return None
    return start, at + 1 + domain.end()


def _domain(tail: str) -> re.Match[str] | None:
    domain = _DOMAIN.match(tail)
    if domain is not None and tail[domain.end() : domain.end() + 1] != ".":
        return domain
    glued = _GLUED.match(tail)  # `example.com.cn1` is more than `example.com`
    if domain is None and glued is None and not (tail[:1].isascii() and tail[:40].isascii()):
        return _WIDE_DOMAIN.match(tail)
    return max(filter(None, (domain, glued)), key=lambda one: one.end(), default=None)


def is_address(text: str) -> bool:
    """Whether the whole text is one address that a CRM would accept and that is not one of ours."""
    return problem(text) is None and not _OURS.match(text)


def problem(text: str) -> str | None:
    """Why a whole text is no address, as a stable id without any part of the value; None when it is one.

    As strict as the usual validators of web frameworks (dot-atom or quoted local part, host with a dot, `localhost` or
    an address literal, IDNA labels), wider only for letters beyond ASCII (RFC 6531).
    """
    local, at, domain = text.rpartition("@")
    if not at or not local or not domain or len(text) > ADDRESS_MAX_CHARS:
        return "email-syntax"
    if len(local.encode("utf-8", "replace")) > LOCAL_MAX_OCTETS:
        return "email-local-too-long"
    if not _QUOTED.fullmatch(local) and not all(_ATOM.fullmatch(atom) for atom in local.split(".")):
        return "email-syntax"
    if _LITERAL.fullmatch(domain) or domain.lower() == "localhost":
        return None
    return None if host_ok(domain) else "email-domain"


def host_ok(domain: str) -> bool:
    """Whether a domain is a plausible host name: two labels or more, IDNA or ASCII, the last one not a number."""
    labels = domain.split(".")
    if len(labels) < 2 or len(domain) > 253 or not all(_UNICODE_LABEL.fullmatch(label) for label in labels):
        return False
    if any(label.endswith("-") for label in labels) or len(labels[-1]) < 2 or labels[-1].isdigit():
        return False
    return ascii_host(domain) is not None


def ascii_host(domain: str) -> str | None:
    """The domain in lower-case ASCII (RFC 3490), or None where that is impossible."""
    if domain.isascii():
        return domain.lower()
    try:
        return domain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None


def _in_userinfo(text: str, start: int) -> bool:
    """Whether the place is the user part of a URL with an authority (RFC 3986 §3.2.1): `https://user:secret@host`."""
    mark = text.rfind("://", max(0, start - 80), start)
    if mark < 0:
        return False
    return not re.search(r"[/?#\s\"'<>]", text[mark + 3 : start])
