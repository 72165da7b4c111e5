"""On the CRM's host: the hand-over to the frame, and the same for programs.

A hand-over needs the person's session here, a handle that was made for it, and a browser that goes there as a page or a
frame; a script gets nothing from it, as it cannot see where it leads. Programs need a fresh code each time, whatever
the settings say of people: a script of the CRM has the person's cookie, too.
"""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from audit.log import AuditUnavailable
from gateway.access.deps import AccessDeps, client_of
from gateway.access.page import DeviceProofNeeded, acting, current, language_of
from gateway.access.sessions import DeviceNeeded
from gateway.access.tokens import digest, new_id, new_token
from gateway.disclosure.desk import CODE_LIMIT_CHARS, DOOR_API, WORDS_LIMIT_CHARS, Asking, Desk, Given
from gateway.disclosure.handle import HandleInvalid, open_handle
from gateway.disclosure.marker import FRAME_PREFIX, OPEN_PATH
from gateway.disclosure.seen import SeenRecords
from gateway.disclosure.store import Sitting, SittingStore
from gateway.refusal import (
    AUDIT_UNAVAILABLE,
    DEVICE_PROOF_NEEDED,
    KEYS_UNAVAILABLE,
    MALFORMED_REQUEST,
    REVEAL_BY_PROGRAM,
    REVEAL_EXPIRED,
    REVEAL_NOT_SHOWN,
    REVEAL_NOTHING,
    SIGN_IN_REQUIRED,
    STORE_UNAVAILABLE,
    Refusal,
)
from gateway.respond import problem
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable

HAND_OVER_LIFETIME = timedelta(seconds=60)
API_PATH = "/.crmgate/api/reveal"
NAME_LIMIT_CHARS = 200
_NAVIGATED = frozenset({None, "iframe", "document", "frame"})


@dataclass(frozen=True, slots=True)
class RevealDeps:
    """What these routes reach. console: public address of the console."""

    access: AccessDeps
    desk: Desk
    sittings: SittingStore
    seen: SeenRecords
    console: str


def reveal_routes(deps: RevealDeps) -> list[BaseRoute]:
    """The routes of the CRM's host."""
    pages = RevealPages(deps)
    return [
        Route(OPEN_PATH, pages.open, methods=["GET"]),
        Route(API_PATH, pages.by_program, methods=["POST"]),
    ]


class RevealPages:
    """The handlers."""

    def __init__(self, deps: RevealDeps) -> None:
        self._deps = deps

    async def open(self, request: Request) -> Response:
        """Hand a page's masks over to the frame, once, for a minute."""
        access = self._deps.access
        tenant = access.tenant_of(request.scope)
        principal, unproved = None, False
        try:
            principal = await acting(access, request)
        except (DeviceNeeded, DeviceProofNeeded):  # a frame has no room for the page that proves it
            unproved = True
        language = language_of(access, request, principal).id
        try:
            if unproved:
                raise Refusal(DEVICE_PROOF_NEEDED)
            if principal is None:
                raise Refusal(SIGN_IN_REQUIRED)
            if (
                request.headers.get("sec-fetch-dest") not in _NAVIGATED
                or request.headers.get("sec-fetch-mode", "navigate") != "navigate"
            ):
                raise Refusal(REVEAL_EXPIRED)
            place = await self._hand_over(tenant, principal.session_id, principal.id, request.query_params.get("h", ""))
        except Refusal as refusal:
            place = f"problem/{refusal.reason.id}"
        address = f"{self._deps.console}{FRAME_PREFIX}{tenant}/{place}?{urlencode({'lang': language})}"
        return RedirectResponse(address, 303)

    async def _hand_over(self, tenant: str, session_id: str, user_id: str, handle: str) -> str:
        desk = self._deps.desk
        desk.settings_of(tenant)
        now = desk.clock()
        try:
            await open_handle(desk.sealer, tenant, session_id, handle, now)
        except HandleInvalid as fault:
            raise Refusal(REVEAL_EXPIRED) from fault
        token = new_token(secrets.token_bytes)
        sitting = Sitting(tenant, session_id, user_id, handle, now + HAND_OVER_LIFETIME)
        await self._deps.sittings.insert(digest(token), sitting, entered=False)
        return token

    async def by_program(self, request: Request) -> Response:
        """One value of one field of one record, for a program that acts for somebody."""
        exchange = new_id("x", secrets.token_bytes)
        try:
            answer = await self._by_program(request, exchange)
            return Response(orjson.dumps(answer), 200, media_type="application/json")
        except StoreUnavailable:
            refusal = Refusal(STORE_UNAVAILABLE)
        except KeysUnavailable:
            refusal = Refusal(KEYS_UNAVAILABLE)
        except AuditUnavailable:
            refusal = Refusal(AUDIT_UNAVAILABLE)
        except Refusal as fault:
            refusal = fault
        language = "zh" if request.headers.get("accept-language", "").lower().startswith("zh") else "en"
        body = problem(refusal, exchange, language)
        return Response(body, refusal.reason.status, media_type="application/problem+json")

    async def _by_program(self, request: Request, exchange: str) -> dict[str, object]:
        deps = self._deps
        if "sec-fetch-site" in request.headers or "origin" in request.headers:
            raise Refusal(REVEAL_BY_PROGRAM)
        principal = await current(deps.access, request)
        if principal is None:
            raise Refusal(SIGN_IN_REQUIRED)
        deps.desk.settings_of(principal.tenant)
        named = _read(await request.body())
        entity, name, record = named["entity"], named["field"], named["record"]
        if not await deps.seen.seen(principal, entity, record):
            raise Refusal(REVEAL_NOT_SHOWN)
        wanted = await deps.desk.find(principal.tenant, entity, name, record)
        if wanted is None:
            raise Refusal(REVEAL_NOTHING)
        asking = Asking(principal, client_of(request.scope), DOOR_API, exchange, True)
        given = Given(named["reason"], named["words"], named["code"])
        revealed = await deps.desk.reveal(asking, wanted, given)
        return {"entity": entity, "record": record, "field": name, "value": revealed.value, "left": revealed.left}


_MEMBERS = {
    "entity": NAME_LIMIT_CHARS,
    "record": NAME_LIMIT_CHARS,
    "field": NAME_LIMIT_CHARS,
    "reason": NAME_LIMIT_CHARS,
    "words": WORDS_LIMIT_CHARS,
    "code": CODE_LIMIT_CHARS,
}
_NEEDED = frozenset({"entity", "record", "field", "reason"})


def _read(body: bytes) -> dict[str, str]:
    """The members of the request; raises Refusal MALFORMED_REQUEST."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise Refusal(MALFORMED_REQUEST) from fault
    if not isinstance(content, dict) or not content.keys() <= _MEMBERS.keys() or not content.keys() >= _NEEDED:
        raise Refusal(MALFORMED_REQUEST)
    for name, text in content.items():
        if not isinstance(text, str) or len(text) > _MEMBERS[name]:
            raise Refusal(MALFORMED_REQUEST, detail=name)
    return {name: content.get(name, "") for name in _MEMBERS}
