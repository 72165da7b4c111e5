"""Beginning a trip to a provider and taking its answer back: what sign-in and linking have in common."""

from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from gateway.access import cookies
from gateway.access.cookies import read_cookie
from gateway.access.deps import client_of
from gateway.access.tokens import digest, new_token
from gateway.federation.deps import TRIP_COOKIES, Entrance, FederationDeps
from gateway.federation.flow import Flow
from gateway.federation.store import Trip
from gateway.federation.vouched import Vouched, VouchRefused, only

WITH_PATH = "/.crmgate/sign-in/with"
TRIP_LIFETIME = timedelta(minutes=10)
QUERY_LIMIT_CHARS = 8_192


class Trips:
    """Trips of one host."""

    def __init__(self, deps: FederationDeps) -> None:
        self._deps = deps

    def entrance(self, request: Request) -> Entrance | None:
        """The provider an address names, where there is one for this host's people."""
        return self._deps.entrance(self._tenant(request), request.path_params["provider"])

    async def begin(
        self, request: Request, entrance: Entrance, next_path: str, session_id: str = ""
    ) -> tuple[str, str]:
        """Remember a trip; where the browser goes, and the secret for its cookie. Raises ProviderDown, VouchRefused."""
        deps = self._deps
        flow = Flow(new_token(deps.randomness))
        address = await entrance.provider.address(flow, self._back(request, entrance))
        now = deps.access.clock()
        trip = Trip(deps.access.audience, entrance.door.name, next_path, session_id)
        client = client_of(request.scope)
        await deps.store.add(self._tenant(request), digest(flow.secret), trip, client, now, now + TRIP_LIFETIME)
        return address, flow.secret

    def keep(self, response: Response, secret: str) -> None:
        """Give the browser what only it may come back with."""
        name = TRIP_COOKIES[self._deps.access.audience]
        cookies.set_cookie(response, name, secret, max_age_s=int(TRIP_LIFETIME.total_seconds()))

    def forget(self, response: Response) -> None:
        """Take that back."""
        cookies.clear_cookie(response, TRIP_COOKIES[self._deps.access.audience])

    async def finish(self, request: Request, entrance: Entrance) -> tuple[Trip, Vouched]:
        """Whom the provider vouches for, once for each trip.

        A state that is not this browser's takes nothing away from the trip that is. Raises VouchRefused (`trip-gone`
        where there is no such trip), ProviderDown.
        """
        deps, told = self._deps, only(_pairs(request))
        flow = Flow(read_cookie(request.scope["headers"], TRIP_COOKIES[deps.access.audience]))
        if not flow.secret:
            raise VouchRefused("trip-gone")
        if not flow.matches(told.get("state", "")):
            raise VouchRefused("state-other")
        trip = await deps.store.take(
            self._tenant(request), digest(flow.secret), deps.access.audience, entrance.door.name, deps.access.clock()
        )
        if trip is None:
            raise VouchRefused("trip-gone")
        return trip, await entrance.provider.identify(told, flow, self._back(request, entrance))

    def _back(self, request: Request, entrance: Entrance) -> str:
        """The one address the provider sends the browser back to: of the settings, never of the request."""
        base = self._deps.access.public_url(self._tenant(request)).rstrip("/")
        return f"{base}{WITH_PATH}/{entrance.door.name}/back"

    def _tenant(self, request: Request) -> str:
        return self._deps.access.tenant_of(request.scope)


def _pairs(request: Request) -> Sequence[tuple[str, str]]:
    query = request.url.query
    if len(query) > QUERY_LIMIT_CHARS:
        raise VouchRefused("answer-unreadable")
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=20, errors="strict")
    except ValueError:
        raise VouchRefused("answer-unreadable") from None
