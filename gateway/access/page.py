"""What all our pages share: who asks, in which language, and how an answer is rendered.

No page is cached, every answer says what it varies by, and the language of the page is the one `language` chose.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gateway.access.cookies import SESSION_COOKIES, read_cookie
from gateway.access.deps import AccessDeps, client_of
from gateway.access.passwords import PASSWORD_MAX_CHARS
from gateway.access.sessions import NoSession, SessionExpired
from gateway.console.language import LANGUAGE_COOKIE, LANGUAGE_COOKIE_S, Language, choose
from gateway.exchange import Principal

FORM_FIELDS_LIMIT = 40
FIELD_LIMIT_CHARS = 4_096
_PROVED = "crmgate.device-proved"


def session_token(deps: AccessDeps, request: Request) -> str:
    """The session token of this host's cookie, "" without one."""
    return read_cookie(request.scope["headers"], SESSION_COOKIES[deps.audience])


async def current(
    deps: AccessDeps, request: Request, *, active: bool = True, anywhere: bool = False
) -> Principal | None:
    """Who is signed in on this host, None for nobody.

    Raises StoreUnavailable, NotAdmitted, SessionLocked, DeviceNeeded.

    anywhere: also from where and when the person may not be here; for signing out only.
    """
    token = session_token(deps, request)
    if not token:
        return None
    try:
        principal = await deps.sessions.principal(
            token, deps.clock(), tenant=deps.tenant_of(request.scope), audience=deps.audience, active=active
        )
    except (NoSession, SessionExpired):
        return None
    if not anywhere:
        deps.gate.check(principal, deps.audience, client_of(request.scope), deps.clock())
    return principal


class DeviceProofNeeded(Exception):  # noqa: N818 - an outcome answered with the device page
    """What was asked for needs a proof of the device that is used up by it."""

    permanent = True


async def acting(deps: AccessDeps, request: Request, *, active: bool = True) -> Principal | None:
    """Who is signed in and does something sensitive; where sessions are bound, it uses up a proof of the device.

    Raises as `current` does, and DeviceProofNeeded. Asked again for the same request, it has been used up already.
    """
    principal = await current(deps, request, active=active)
    if principal is None or not deps.sessions.devices.bound or request.scope.get(_PROVED) is True:
        return principal
    if not await deps.sessions.use_device_proof(session_token(deps, request)):
        raise DeviceProofNeeded
    request.scope[_PROVED] = True
    return principal


def password_limits(deps: AccessDeps) -> dict[str, int]:
    """What the forms say about a new password."""
    rules = deps.users.rules
    return {
        "password_min": rules.least,
        "password_max": PASSWORD_MAX_CHARS,
        "password_classes": rules.classes,
        "password_kept": rules.kept,
    }


def language_of(deps: AccessDeps, request: Request, principal: Principal | None) -> Language:
    """The language of this answer."""
    return choose(
        deps.look.languages,
        query=request.query_params.get("lang", ""),
        cookie=read_cookie(request.scope["headers"], LANGUAGE_COOKIE),
        person="" if principal is None else principal.language,
        accept=request.headers.get("accept-language", ""),
    )


def values_of(deps: AccessDeps, request: Request, principal: Principal | None, language: Language) -> dict[str, Any]:
    """What every template may use."""
    navigation: Sequence[Any] = ()
    if principal is not None:
        navigation = deps.navigation(principal, language.sentences.gettext)
    return {
        "now": deps.clock(),
        "path": request.url.path,
        "principal": principal,
        "navigation": navigation,
        "layout": "console.html" if navigation else "bare.html",
        "audience": deps.audience,
        "home": deps.home,
        "page": "",
        "emergencies": (),
        "language_links": _language_links(deps, request),
    }


def render(
    deps: AccessDeps,
    request: Request,
    template: str,
    values: Mapping[str, Any],
    *,
    principal: Principal | None = None,
    status: int = 200,
    block: str | None = None,
) -> Response:
    """A page, or one block of it, in the language of the request; a language asked for in the address is remembered."""
    language = language_of(deps, request, principal)
    everything = values_of(deps, request, principal, language) | dict(values)
    if block is None:
        body = deps.look.page(template, language, everything)
    else:
        body = deps.look.block(template, block, language, everything)
    response = HTMLResponse(body, status)
    response.headers["vary"] = "Accept-Language, Cookie, HX-Request"
    response.headers["content-language"] = language.tag
    if request.query_params.get("lang", "") in deps.look.languages:
        response.set_cookie(
            LANGUAGE_COOKIE,
            language.id,
            max_age=LANGUAGE_COOKIE_S,
            path="/",
            secure=True,
            httponly=True,
            samesite="lax",
        )
    return response


async def read_form(request: Request, *, limit_chars: int = FIELD_LIMIT_CHARS) -> dict[str, str]:
    """The text fields of a submitted form, the last of each name; files and oversized fields are dropped."""
    form = await request.form(max_fields=FORM_FIELDS_LIMIT, max_files=0)
    return {name: value for name, value in form.items() if isinstance(value, str) and len(value) <= limit_chars}


def _language_links(deps: AccessDeps, request: Request) -> list[tuple[Language, str]]:
    """Address of this page in each language; other parts of the query are kept."""
    if request.method not in ("GET", "HEAD"):
        return [(language, f"{deps.home}?lang={name}") for name, language in deps.look.languages.items()]
    return [
        (language, f"{request.url.path}?{request.url.include_query_params(lang=name).query}")
        for name, language in deps.look.languages.items()
    ]
