"""The pages in the frame, on the console's host: pick a masked value, give a reason, prove who you are, see it.

They need no cookie. A hand-over from the CRM's host is used up by the first page; every page after it is reached with a
token of its own in a form, which no other origin can read and which opens one value at most. Only the CRM of the
tenant may frame them. Nothing here is cached, and no address holds a value.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from audit.log import AuditUnavailable
from gateway.access.app import BODY_LIMIT_BYTES
from gateway.access.deps import client_of
from gateway.access.page import read_form
from gateway.access.tokens import digest, new_id, new_token, well_formed
from gateway.console.guard import HEADERS, KNOWN_METHODS, CrossSiteRefused, check_same_origin
from gateway.console.language import Language, choose
from gateway.console.look import Look
from gateway.disclosure.desk import DOOR_PAGE, Asking, Desk, Given, Listed
from gateway.disclosure.handle import HandleInvalid, open_handle
from gateway.disclosure.marker import FRAME_PREFIX
from gateway.disclosure.store import Sitting, SittingStore
from gateway.exchange import Principal
from gateway.messages import message
from gateway.refusal import (
    ALL,
    AUDIT_UNAVAILABLE,
    INTERNAL_FAULT,
    KEYS_UNAVAILABLE,
    REVEAL_CODE_WRONG,
    REVEAL_EXPIRED,
    REVEAL_LOCKED,
    REVEAL_REASON,
    STORE_UNAVAILABLE,
    Reason,
    Refusal,
)
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable

SITTING_LIFETIME = timedelta(minutes=10)
ATTEMPTS = 5
AGAIN = frozenset({REVEAL_REASON, REVEAL_CODE_WRONG, REVEAL_LOCKED})  # the form stays, filled in
REASON_WORDS_LIMIT_CHARS = 500
_BY_ID = {one.id: one for one in ALL}


@dataclass(frozen=True, slots=True)
class FrameDeps:
    """What the pages reach. public: tenant → address of its CRM, the only one that may frame them."""

    desk: Desk
    sittings: SittingStore
    look: Look
    public: Mapping[str, str]


class FramePages:
    """The handlers."""

    def __init__(self, deps: FrameDeps) -> None:
        self._deps = deps

    async def enter(self, request: Request) -> Response:
        """Use up a hand-over and list what may be revealed."""
        deps, tenant, token = self._deps, request.path_params["tenant"], request.path_params["token"]
        now, new = deps.desk.clock(), new_token(secrets.token_bytes)
        sitting = None
        if well_formed(token):
            sitting = await deps.sittings.enter(tenant, digest(token), digest(new), now, now + SITTING_LIFETIME)
        if sitting is None:
            raise Refusal(REVEAL_EXPIRED)
        return await self._list(request, sitting, new)

    async def again(self, request: Request) -> Response:
        """The list once more, after a value was shown."""
        form = await read_form(request)
        sitting = await self._sitting(request, form)
        return await self._list(request, sitting, form["token"])

    async def show(self, request: Request) -> Response:
        """Reveal one value."""
        deps, form = self._deps, await read_form(request)
        sitting = await self._sitting(request, form)
        principal = await self._person(request, sitting)
        settings = deps.desk.settings_of(sitting.tenant)
        number = form.get("mask", "")
        given = Given(
            form.get("reason", ""),
            form.get("words", "")[: REASON_WORDS_LIMIT_CHARS + 1],
            "".join(form.get("code", "").split()),
        )
        masks = await self._masks(sitting)
        if not number.isascii() or not number.isdigit() or len(number) > 3 or int(number) >= len(masks):
            return await self._list(request, sitting, form["token"], given=given, problem=REVEAL_REASON)
        wanted = masks[int(number)]
        asking = Asking(
            principal, client_of(request.scope), DOOR_PAGE, new_id("x", secrets.token_bytes), settings.step_up
        )
        try:
            revealed = await deps.desk.reveal(asking, wanted, given)
        except Refusal as refusal:
            if refusal.reason not in AGAIN:
                raise
            return await self._list(
                request, sitting, form["token"], given=given, picked=int(number), problem=refusal.reason
            )
        if not await deps.sittings.take(sitting.tenant, digest(form["token"])):
            raise Refusal(REVEAL_EXPIRED)
        following = new_token(secrets.token_bytes)
        await deps.sittings.insert(digest(following), await self._following(sitting), entered=True)
        values = {
            "what": "value",
            "value": revealed.value,
            "mask": revealed.mask,
            "left": revealed.left,
            "settings": settings,
            "token": following,
        }
        return self._page(request, principal, values)

    async def over(self, request: Request) -> Response:
        """What stands there once a value's time is up and the browser runs no scripts."""
        return self._page(request, None, {"what": "over"})

    async def problem(self, request: Request) -> Response:
        """Why the CRM's host did not hand over."""
        reason = _BY_ID.get(request.path_params["reason"], REVEAL_EXPIRED)
        raise Refusal(reason)

    async def _sitting(self, request: Request, form: Mapping[str, str]) -> Sitting:
        token, desk = form.get("token", ""), self._deps.desk
        sitting = None
        if well_formed(token):
            tenant = request.path_params["tenant"]
            sitting = await self._deps.sittings.attempt(tenant, digest(token), desk.clock(), ATTEMPTS)
        if sitting is None:
            raise Refusal(REVEAL_EXPIRED)
        return sitting

    async def _person(self, request: Request, sitting: Sitting) -> Principal:
        # A frame renews no proof of the device, and no other origin gets at a sitting: the proof that it was opened
        # with lasts as long as the sitting, so that a reason may be thought over.
        return await self._deps.desk.present(
            sitting.tenant,
            sitting.session_id,
            sitting.user_id,
            client_of(request.scope),
            sitting.expires - SITTING_LIFETIME,
        )

    async def _following(self, sitting: Sitting) -> Sitting:
        """The sitting after a value was shown: as long as a new one only where the device's proof still holds."""
        desk = self._deps.desk
        now = desk.clock()
        held = await desk.sessions.live_principal(sitting.tenant, sitting.session_id, sitting.user_id, now)
        return sitting if held is None else replace(sitting, expires=now + SITTING_LIFETIME)

    async def _masks(self, sitting: Sitting):  # type: ignore[no-untyped-def]
        desk = self._deps.desk
        try:
            return await open_handle(desk.sealer, sitting.tenant, sitting.session_id, sitting.handle, desk.clock())
        except HandleInvalid as fault:
            raise Refusal(REVEAL_EXPIRED) from fault

    async def _list(
        self,
        request: Request,
        sitting: Sitting,
        token: str,
        *,
        given: Given | None = None,
        picked: int = -1,
        problem: Reason | None = None,
    ) -> Response:
        desk = self._deps.desk
        settings = desk.settings_of(sitting.tenant)
        principal = await self._person(request, sitting)
        listed: list[Listed] = await desk.listed(principal, await self._masks(sitting))
        values = {
            "what": "list",
            "listed": listed,
            "settings": settings,
            "token": token,
            "given": given or Given("", "", ""),
            "picked": picked,
            "problem": problem,
        }
        return self._page(request, principal, values, 200 if problem is None else problem.status)

    def _page(
        self, request: Request, principal: Principal | None, values: Mapping[str, Any], status: int = 200
    ) -> Response:
        language = self._language(request, principal)
        everything = {
            "tenant": request.path_params["tenant"],
            "path": f"{FRAME_PREFIX}{request.path_params['tenant']}",
            "problem": None,
            "say": lambda reason: message(reason.id, language.id[:2]),
            **values,
        }
        response = HTMLResponse(self._deps.look.page("reveal.html", language, everything), status)
        response.headers["content-language"] = language.tag
        return response

    def _language(self, request: Request, principal: Principal | None) -> Language:
        return choose(
            self._deps.look.languages,
            query=request.query_params.get("lang", ""),
            person="" if principal is None else principal.language,
            accept=request.headers.get("accept-language", ""),
        )

    def refused(self, request: Request, reason: Reason) -> Response:
        """Why nothing is revealed, in the frame."""
        return self._page(request, None, {"what": "problem", "problem": reason}, reason.status)


_FAULTS: Mapping[type[Exception], Reason] = {
    StoreUnavailable: STORE_UNAVAILABLE,
    KeysUnavailable: KEYS_UNAVAILABLE,
    AuditUnavailable: AUDIT_UNAVAILABLE,
    Exception: INTERNAL_FAULT,
}


def make_frame_app(deps: FrameDeps) -> ASGIApp:
    """Everything under /reveal/ of the console's host."""
    pages = FramePages(deps)

    async def refused(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, Refusal)
        return pages.refused(request, fault.reason)

    def failed(reason: Reason) -> Callable[[Request, Exception], Any]:
        async def answer(request: Request, _fault: Exception) -> Response:
            return pages.refused(request, reason)

        return answer

    tenant = FRAME_PREFIX + "{tenant}"
    app = Starlette(
        routes=[
            Route(tenant, pages.show, methods=["POST"]),
            Route(f"{tenant}/list", pages.again, methods=["POST"]),
            Route(f"{tenant}/over", pages.over, methods=["GET"]),
            Route(f"{tenant}/problem/{{reason}}", pages.problem, methods=["GET"]),
            Route(f"{tenant}/{{token}}", pages.enter, methods=["GET"]),
        ],
        exception_handlers={Refusal: refused, **{kind: failed(reason) for kind, reason in _FAULTS.items()}},
        max_body_size=BODY_LIMIT_BYTES,
    )
    return FrameGuard(app, deps.public)


class FrameGuard:
    """The headers of `gateway.console.guard`, but the tenant's CRM may frame; requests of other sites are refused."""

    def __init__(self, app: ASGIApp, public: Mapping[str, str]) -> None:
        self._app = app
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        tenant = scope["path"].removeprefix(FRAME_PREFIX).partition("/")[0]
        framing = self._public.get(tenant)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    fields[name] = value
                fields["content-security-policy"] = policy(framing)
                fields["permissions-policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
                fields["cache-control"] = "no-store"
            await send(message)

        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            check_same_origin(scope["method"], scope["path"], headers)
        except CrossSiteRefused:
            await PlainTextResponse("cross-site-refused\n", 403)(scope, receive, send_guarded)
            return
        if scope["method"] not in KNOWN_METHODS or framing is None:
            await PlainTextResponse("not found\n", 404)(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)


def policy(public: str | None) -> str:
    """The Content-Security-Policy of the frame; public: address of the CRM that may frame it."""
    parts = urlsplit(public or "")
    ancestors = f"{parts.scheme}://{parts.netloc}" if public else "'none'"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        f"base-uri 'none'; frame-ancestors {ancestors}"
    )


def with_frame(console: ASGIApp, frame: ASGIApp) -> ASGIApp:
    """The console, with the frame's pages beside it under their own guard."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(FRAME_PREFIX):
            await frame(scope, receive, send)
        else:
            await console(scope, receive, send)

    return handle
