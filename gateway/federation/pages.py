"""Signing in through another provider: away, back, on to crmgate's second factor; and its word that it ended there.

Every way it can fail leads to the sign-in page with words for it, where the password works as ever. Nothing of what the
provider answered is shown, logged or put into the trail: a stable word says what was wrong.
"""

from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.access.deps import client_of
from gateway.access.elsewhere import LinkTaken
from gateway.access.events import note, note_account
from gateway.access.next_path import safe_next
from gateway.access.page import current
from gateway.access.pages import ACCOUNT_PATH, SIGN_IN_PATH, SignInPages, message_page, reason_of
from gateway.access.sign_in import Attempt, HalfOpenExpired
from gateway.access.tokens import digest
from gateway.federation.deps import Entrance, FederationDeps
from gateway.federation.id_token import OLDEST_S, SKEW_S, TOKEN_MAX_CHARS
from gateway.federation.link_pages import LINK_PATH, LinkPages
from gateway.federation.store import Trip
from gateway.federation.trips import WITH_PATH, Trips
from gateway.federation.vouched import ProviderDown, Vouched, VouchRefused

START_SHAPE = f"{WITH_PATH}/{{provider}}"
BACK_SHAPE = f"{WITH_PATH}/{{provider}}/back"
ENDED_SHAPE = "/.crmgate/api/sign-in/with/{provider}/ended"
LOGOUT_HEARD = timedelta(seconds=OLDEST_S + 2 * SKEW_S)


class ElsewherePages(SignInPages):
    """Handlers over the dependencies of one host."""

    def __init__(self, deps: FederationDeps) -> None:
        super().__init__(deps.access)
        self._federation = deps
        self._trips = Trips(deps)

    async def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        entrance = self._trips.entrance(request)
        if entrance is None:
            return message_page(self._deps, request, "not-found", 404)
        wanted = request.query_params.get("next", "")
        target = safe_next(wanted) if wanted else self._deps.home
        try:
            address, secret = await self._trips.begin(request, entrance, target)
        except (ProviderDown, VouchRefused) as fault:
            return await self._not_in(request, entrance, fault, target, START_SHAPE)
        response = RedirectResponse(address, 303)
        self._trips.keep(response, secret)
        return response

    async def back(self, request: Request) -> Response:
        """Take the provider's answer."""
        entrance = self._trips.entrance(request)
        if entrance is None:
            return message_page(self._deps, request, "not-found", 404)
        try:
            trip, vouched = await self._trips.finish(request, entrance)
        except (ProviderDown, VouchRefused) as fault:
            response = await self._not_in(request, entrance, fault, "", BACK_SHAPE)
            if isinstance(fault, VouchRefused) and fault.why == "state-other":
                return response  # somebody else's answer: this browser's own trip goes on
        else:
            response = await (self._link if trip.session_id else self._let_in)(request, entrance, trip, vouched)
        self._trips.forget(response)
        return response

    async def ended(self, request: Request) -> Response:
        """The provider says that somebody's session there has ended (OpenID Connect Back-Channel Logout 1.0)."""
        entrance = self._trips.entrance(request)
        if entrance is None:
            return JSONResponse({"error": "invalid_request"}, 404)
        token = await _logout_token(request)
        deps, access = self._federation, self._deps
        try:
            ended = await entrance.provider.ended(token)
        except ProviderDown:
            return JSONResponse({"error": "temporarily_unavailable"}, 503, headers={"retry-after": "30"})
        except VouchRefused as refused:
            fields = {"target": entrance.door.name, "detail": refused.why}
            await note(access, request.scope, "elsewhere-refused", 400, fields=fields, path_shape=ENDED_SHAPE)
            return JSONResponse({"error": "invalid_request"}, 400)
        heard_until = access.clock() + LOGOUT_HEARD
        for tenant in entrance.tenants:
            if not await deps.store.hear(tenant, digest(token), heard_until):
                continue
            await deps.store.drop_half_open(tenant, ended)
            for session_id, user_id in await deps.store.begun_through(tenant, ended):
                user = await access.users.get(tenant, user_id)
                told = {"target": entrance.door.name}
                if user is not None:
                    await note(
                        access, request.scope, "elsewhere-ended", 200, user=user, fields=told, path_shape=ENDED_SHAPE
                    )
                await access.sessions.end(session_id, "elsewhere-ended")
        return Response(status_code=200)

    async def _let_in(self, request: Request, entrance: Entrance, trip: Trip, vouched: Vouched) -> Response:
        access, target = self._deps, safe_next(trip.next_path)
        tenant, client = access.tenant_of(request.scope), client_of(request.scope)
        told = {"target": entrance.door.name}
        try:
            if vouched.factor_proved:
                done = await access.sign_in.elsewhere_at_once(
                    tenant, vouched.identity, client, next_path=target, audience=access.audience
                )
                return await self._done(request, done, factor=f"elsewhere {entrance.door.name}")
            half = await access.sign_in.elsewhere_step(
                tenant, vouched.identity, client, next_path=target, audience=access.audience
            )
        except HalfOpenExpired:
            return await self._expired(request)
        except Attempt as attempt:
            status = await self._failed(request, attempt)
            if (stopped := self._stopped(request, attempt, status)) is not None:
                return stopped
            return _asked_again(reason_of(attempt), target)
        return await self._half_open(request, half, "elsewhere-accepted", BACK_SHAPE, told)

    async def _link(self, request: Request, entrance: Entrance, trip: Trip, vouched: Vouched) -> Response:
        """Link what the provider vouched for to whoever began this after a proof of a factor, in the same session."""
        deps, access = self._federation, self._deps
        principal = await current(access, request)
        if principal is None or principal.session_id != trip.session_id:
            return _asked_again("expired", ACCOUNT_PATH)
        told = {"target": entrance.door.name}
        try:
            await deps.links.check_add(principal.tenant, principal.id, vouched.identity)
            await note_account(access, request.scope, principal, "elsewhere-linked", 303, BACK_SHAPE, told)
            await deps.links.add(principal.tenant, principal.id, vouched.identity, access.clock())
        except LinkTaken:
            await note_account(access, request.scope, principal, "elsewhere-taken", 422, BACK_SHAPE, told)
            return RedirectResponse(f"{ACCOUNT_PATH}?notice=elsewhere-taken", 303)
        return RedirectResponse(f"{ACCOUNT_PATH}?notice=elsewhere-linked", 303)

    async def _not_in(
        self, request: Request, entrance: Entrance, fault: ProviderDown | VouchRefused, target: str, shape: str
    ) -> Response:
        reason = "elsewhere-down" if isinstance(fault, ProviderDown) else "elsewhere-refused"
        if fault.why in ("cancelled", "trip-gone"):
            reason = {"cancelled": "elsewhere-cancelled", "trip-gone": "sign-in-expired"}[fault.why]
        status = 503 if isinstance(fault, ProviderDown) else 401
        fields = {"target": entrance.door.name, "detail": fault.why}
        await note(self._deps, request.scope, reason, status, fields=fields, path_shape=shape)
        return _asked_again("expired" if reason == "sign-in-expired" else reason, target)


def _asked_again(notice: str, target: str) -> Response:
    """The sign-in page with words for it; the answer's own address is left behind."""
    told = {"notice": notice} | ({"next": target} if target else {})
    return RedirectResponse(f"{SIGN_IN_PATH}?{urlencode(told)}", 303)


async def _logout_token(request: Request) -> str:
    body = await request.body()
    try:
        told = dict(parse_qsl(body[: TOKEN_MAX_CHARS + 1024].decode("ascii"), max_num_fields=5))
    except ValueError:
        return ""
    return told.get("logout_token", "")


def federation_routes(deps: FederationDeps) -> list[BaseRoute]:
    """The routes of one host; without providers every one is a page that is not there."""
    pages, links = ElsewherePages(deps), LinkPages(deps)
    return [
        Route(START_SHAPE, pages.start, methods=["GET"]),
        Route(BACK_SHAPE, pages.back, methods=["GET"]),
        Route(ENDED_SHAPE, pages.ended, methods=["POST"]),
        Route(LINK_PATH, links.ask_link, methods=["GET"]),
        Route(LINK_PATH, links.link, methods=["POST"]),
        Route(f"{LINK_PATH}/remove", links.ask_unlink, methods=["GET"]),
        Route(f"{LINK_PATH}/remove", links.unlink, methods=["POST"]),
    ]
