"""The answer of a refusal: problem+json (RFC 9457) for programs, a whole page for people, in their language.

The page needs nothing but itself: no script, no outside file, one style whose hash its own policy names. It says what
happened, what to do, and a number to quote; never a value. A browser that only lacks a sign-in is sent to it and back.
"""

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import quote

import orjson

from gateway.access.step_up import DEVICE_PATH, LOCK_PATH, STEP_UP_PATH, path_of, proof_address
from gateway.collaborators import Scope, Send
from gateway.headers import HSTS, SESSION_COOKIE
from gateway.messages import FRAMES, LANGUAGES, UNCERTAIN, message
from gateway.refusal import (
    CRM_LOGIN_MISSING,
    CRM_LOGIN_REFUSED,
    CRM_TOKEN_ENDED,
    DEVICE_NEEDED,
    DEVICE_PROOF_NEEDED,
    NOT_ALLOWED,
    SESSION_ENDED,
    SESSION_LOCKED,
    SIGN_IN_REQUIRED,
    STEP_UP_NEEDED,
    Reason,
    Refusal,
)

LANGUAGE_COOKIE = "__Host-crmgate-language"  # set by the sign-in pages, see gateway.console.language
OWN_PREFIX = "/.crmgate/"
SIGN_IN_PATH = "/.crmgate/sign-in"
ACCOUNT_PATH = "/.crmgate/account"
CRM_LOGIN_PATH = "/.crmgate/account/crm"
RETRY_AFTER_S = 5
_PROOFS = {
    SESSION_LOCKED: LOCK_PATH,
    STEP_UP_NEEDED: STEP_UP_PATH,
    DEVICE_NEEDED: DEVICE_PATH,
    DEVICE_PROOF_NEEDED: DEVICE_PATH,
}
_DEVICE = (DEVICE_NEEDED, DEVICE_PROOF_NEEDED)
NEXT_LIMIT_CHARS = 2000

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2530;--soft:#566270;--paper:#f4f6f8;--card:#fff;--line:#dde3ea;--deep:#0f5c7a}
@media(prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#a3b0bd;--paper:#11161c;--card:#1a2129;--line:#2c3640;
--deep:#69c0e0}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--paper);color:var(--ink);
font:1rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",
sans-serif}
main{width:100%;max-width:34rem;background:var(--card);border:1px solid var(--line);border-top:4px solid var(--deep);
border-radius:.6rem;padding:2rem 2.25rem 1.75rem;box-shadow:0 1px 2px #0001,0 8px 24px #0000000f}
.brand{margin:0 0 1.25rem;font-size:.85rem;font-weight:600;letter-spacing:.04em;color:var(--soft)}
h1{margin:0 0 .75rem;font-size:1.55rem;line-height:1.3;font-weight:650;text-wrap:balance}
p{margin:0 0 .75rem}.do{font-weight:550}.soft{color:var(--soft);font-size:.92rem}
ul{margin:.25rem 0 1rem;padding-left:1.2rem}
code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
nav{display:flex;gap:.75rem;flex-wrap:wrap;margin:1.5rem 0}
a{display:inline-block;padding:.55rem 1.1rem;border-radius:.4rem;border:1px solid var(--deep);color:var(--deep);
text-decoration:none;font-weight:550}
a.main{background:var(--deep);color:var(--card)}a:hover{text-decoration:underline}
a:focus-visible{outline:3px solid var(--deep);outline-offset:2px}
footer{border-top:1px solid var(--line);margin-top:1.25rem;padding-top:1rem}footer p{margin:0}
@media(max-width:30rem){main{padding:1.5rem 1.25rem}h1{font-size:1.3rem}}
""".replace("\n", "")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def language_of(fields: Iterable[tuple[str, str]]) -> str:
    """The language to answer in: our cookie's, else the best of Accept-Language (RFC 9110 §12.5.4), else English."""
    accept = ""
    for name, value in fields:
        if name == "cookie" and LANGUAGE_COOKIE in value:
            for part in value.split(";"):
                key, _, chosen = part.strip().partition("=")
                if key == LANGUAGE_COOKIE and chosen[:2] in LANGUAGES:
                    return chosen[:2]
        elif name == "accept-language":
            accept = value
    best, quality = "en", 0.0
    for part in accept.lower().split(","):
        tag, _, rest = part.strip().partition(";")
        code = tag.strip().partition("-")[0]
        if code not in LANGUAGES:
            continue
        weight = _weight(rest)
        if weight > quality:
            best, quality = code, weight
    return best


def _weight(rest: str) -> float:
    name, _, number = rest.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return max(0.0, min(1.0, float(number)))
    except ValueError:
        return 0.0


def wants_page(fields: Iterable[tuple[str, str]]) -> bool:
    """Whether a person looks at the answer: the browser says it is a document, or asks for HTML outside of scripts."""
    named = dict(fields)
    destination = named.get("sec-fetch-dest")
    if destination is not None:
        return destination in ("document", "iframe", "frame")
    return "text/html" in named.get("accept", "") and named.get("x-requested-with", "").lower() != "xmlhttprequest"


def safe_next(target: str) -> str | None:
    """A place to go on to after sign-in: only a path of this host; None when it is not one."""
    if not target.startswith("/") or target.startswith(("//", OWN_PREFIX)) or len(target) > NEXT_LIMIT_CHARS:
        return None
    return None if "\\" in target or not target.isascii() or not target.isprintable() else target


def problem(refusal: Refusal, exchange: str, language: str) -> bytes:
    """The problem document of a refusal."""
    reason = refusal.reason
    words = message(reason.id, language)
    document: dict[str, Any] = {
        "type": f"urn:crmgate:refusal:{reason.id}",
        "title": words.title,
        "status": reason.status,
        "detail": f"{words.text} {words.action}",
        "reason": reason.id,
        "retry": reason.retry,
        "exchange": exchange,
    }
    if refusal.detail:
        document["part"] = refusal.detail
    if refusal.fields:
        document["fields"] = list(refusal.fields)
    return orjson.dumps(document)


def page(refusal: Refusal, exchange: str, language: str, back: str = "/") -> bytes:
    """The page of a refusal. back: where a proof of a factor goes on to."""
    reason, words, frame = refusal.reason, message(refusal.reason.id, language), FRAMES[language]
    fields = "".join(f"<li><code>{escape(name)}</code></li>" for name in refusal.fields)
    listed = f'<p class="soft">{frame.fields}:</p><ul>{fields}</ul>' if fields else ""
    kept = "" if reason.id in UNCERTAIN or reason.status == 401 else f'<p class="soft">{frame.nothing_kept}</p>'
    links = f'<a href="/">{frame.home}</a>'
    if (place := _PROOFS.get(reason)) is not None:
        label = frame.unlock if reason is SESSION_LOCKED else frame.prove
        links = f'<a class="main" href="{escape(_proof_address(reason, place, back))}">{label}</a>' + links
    elif reason.status == 401:
        links = f'<a class="main" href="{SIGN_IN_PATH}">{frame.sign_in}</a>' + links
    elif refusal.reason is NOT_ALLOWED:  # a role without the CRM has no other page here to sign out from
        links += f'<a href="{ACCOUNT_PATH}">{frame.account}</a>'
    return (
        f'<!doctype html><html lang="{frame.html_lang}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{escape(words.title)} · crmgate</title><style>{_STYLE}</style></head><body><main>"
        f'<p class="brand">crmgate</p><h1>{escape(words.title)}</h1><p>{escape(words.text)}</p>'
        f'<p class="do">{escape(words.action)}</p>{listed}{kept}<nav>{links}</nav>'
        f'<footer><p class="soft">{frame.quote}: <code>{escape(exchange)}</code> · <code>{reason.id}</code></p>'
        "</footer>"
        "</main></body></html>"
    ).encode()


def _proof_address(reason: Reason, place: str, target: str) -> str:
    return proof_address(place, target) + ("&act=1" if reason is DEVICE_PROOF_NEEDED else "")


def _came_from(fields: Iterable[tuple[str, str]]) -> str:
    """The page of this host that a form was sent from, "/" where the browser does not tell."""
    return safe_next(path_of(dict(fields).get("referer", ""))) or "/"


async def send_refusal(scope: Scope, send: Send, refusal: Refusal, exchange: str, *, secure: bool = True) -> int:
    """Answer an exchange that ends here; returns the status that went out."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    language = language_of(fields)
    as_page = wants_page(fields)
    target = scope.get("crmgate.target", b"/").decode("latin-1")
    if as_page and scope["method"] in ("GET", "HEAD") and refusal.reason in (SIGN_IN_REQUIRED, SESSION_ENDED):
        onward = safe_next(target)
        place = SIGN_IN_PATH + (f"?next={quote(onward, safe='/')}" if onward not in (None, "/") else "")
        await _send(send, 303, [(b"location", place.encode("ascii"))], b"", secure=secure)
        return 303
    if as_page and scope["method"] in ("GET", "HEAD") and refusal.reason in (CRM_LOGIN_MISSING, CRM_LOGIN_REFUSED):
        onward = safe_next(target) or "/"
        place = f"{CRM_LOGIN_PATH}?problem={refusal.reason.id}&next={quote(onward, safe='/')}"
        await _send(send, 303, [(b"location", place.encode("ascii"))], b"", secure=secure)
        return 303
    if as_page and scope["method"] in ("GET", "HEAD") and refusal.reason in _PROOFS:
        place = _proof_address(refusal.reason, _PROOFS[refusal.reason], safe_next(target) or "/")
        await _send(send, 303, [(b"location", place.encode("ascii"))], b"", secure=secure)
        return 303
    status = refusal.reason.status
    body = page(refusal, exchange, language, _came_from(fields)) if as_page else problem(refusal, exchange, language)
    headers = [
        (b"content-type", b"text/html; charset=utf-8" if as_page else b"application/problem+json"),
        (b"content-language", FRAMES[language].html_lang.encode()),
        (b"content-security-policy", _POLICY.encode()),
        (b"vary", b"accept, accept-language, cookie, sec-fetch-dest"),
    ]
    if refusal.reason.retry:
        headers.append((b"retry-after", str(RETRY_AFTER_S).encode()))
    if refusal.reason in (SIGN_IN_REQUIRED, SESSION_ENDED, SESSION_LOCKED, STEP_UP_NEEDED, CRM_TOKEN_ENDED, *_DEVICE):
        headers.append((b"www-authenticate", b'Session realm="crmgate"'))  # RFC 9110 §15.5.2 asks for a challenge
    await _send(send, status, headers, body, secure=secure)
    return status


async def send_signed_out(scope: Scope, send: Send, *, secure: bool = True) -> None:
    """Answer a sign-out at the CRM that ended the session here, too: to the sign-in page, or null for programs."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    gone = (b"set-cookie", f"{SESSION_COOKIE}=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=lax".encode())
    if wants_page(fields):
        place = (b"location", f"{SIGN_IN_PATH}?notice=signed-out".encode("ascii"))
        await _send(send, 303, [place, gone], b"", secure=secure)
    else:
        await _send(send, 200, [(b"content-type", b"application/json"), gone], b"null", secure=secure)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, *, secure: bool) -> None:
    headers += [
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"x-frame-options", b"SAMEORIGIN"),
    ]
    if all(name != b"content-security-policy" for name, _ in headers):
        headers.append((b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'self'"))
    if secure:
        headers.append((b"strict-transport-security", HSTS.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
