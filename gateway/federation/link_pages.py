"""A person's own links to other providers: made and taken away after the password and a factor anew.

A link is a way in. A browser left open, or a script of the CRM on the same host, must not be able to add one; and the
provider itself has to say who it is, so that nobody links an identity that is not theirs.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.factor_pages import FactorPages
from gateway.access.page import current, render
from gateway.access.pages import ACCOUNT_PATH, message_page, sign_in_address
from gateway.exchange import Principal
from gateway.federation.deps import Entrance, FederationDeps
from gateway.federation.trips import Trips
from gateway.federation.vouched import ProviderDown, VouchRefused

LINK_PATH = f"{ACCOUNT_PATH}/elsewhere/{{provider}}"
REMOVE_SHAPE = f"{LINK_PATH}/remove"


class LinkPages(FactorPages):
    """Handlers over the dependencies of one host."""

    def __init__(self, deps: FederationDeps) -> None:
        super().__init__(deps.access)
        self._federation = deps
        self._trips = Trips(deps)

    async def ask_link(self, request: Request) -> Response:
        """Ask for the proof before an identity is linked."""
        return await self._ask_proof(request, "link")

    async def link(self, request: Request) -> Response:
        """After the proof: the page that leads to the provider.

        A link and no redirect: the page's own policy forbids forms that lead to another site.
        """
        principal, entrance = await current(self._deps, request), self._trips.entrance(request)
        if principal is None:
            return _sign_in()
        if entrance is None:
            return message_page(self._deps, request, "not-found", 404)
        if problem := await self._prove(request, principal, LINK_PATH):
            return self._ask_again(request, principal, entrance, "link", problem)
        try:
            address, secret = await self._trips.begin(request, entrance, ACCOUNT_PATH, principal.session_id)
        except (ProviderDown, VouchRefused) as fault:
            reason = "elsewhere-down" if isinstance(fault, ProviderDown) else "elsewhere-refused"
            await self._note(request, principal, reason, 503, LINK_PATH, target=entrance.door.name, detail=fault.why)
            return RedirectResponse(f"{ACCOUNT_PATH}?notice={reason}", 303)
        values = {"page": "account", "door": entrance.door, "address": address}
        response = render(self._deps, request, "elsewhere.html", values, principal=principal)
        self._trips.keep(response, secret)
        return response

    async def ask_unlink(self, request: Request) -> Response:
        """Ask for the proof before a link is taken away."""
        return await self._ask_proof(request, "unlink")

    async def unlink(self, request: Request) -> Response:
        """Take a link away; the person's other sessions end, because somebody else may have come in by it."""
        deps = self._deps
        principal, entrance = await current(deps, request), self._trips.entrance(request)
        if principal is None:
            return _sign_in()
        if entrance is None:
            return message_page(deps, request, "not-found", 404)
        if problem := await self._prove(request, principal, REMOVE_SHAPE):
            return self._ask_again(request, principal, entrance, "unlink", problem)
        await self._note(request, principal, "elsewhere-unlinked", 303, REMOVE_SHAPE, target=entrance.door.name)
        await self._federation.links.remove(principal.tenant, principal.id, entrance.door.issuer)
        await deps.sessions.end_all(principal.id, "unlinked", keep=principal.session_id)
        return RedirectResponse(f"{ACCOUNT_PATH}?notice=elsewhere-unlinked", 303)

    async def _ask_proof(self, request: Request, action: str) -> Response:
        principal, entrance = await current(self._deps, request), self._trips.entrance(request)
        if principal is None:
            return _sign_in()
        if entrance is None:
            return message_page(self._deps, request, "not-found", 404)
        return self._ask_again(request, principal, entrance, action, "")

    def _ask_again(
        self, request: Request, principal: Principal, entrance: Entrance, action: str, problem: str
    ) -> Response:
        values = {"page": "account", "action": action, "problem": problem, "passkey": None, "door": entrance.door}
        return render(self._deps, request, "proof.html", values, principal=principal, status=422 if problem else 200)


def _sign_in() -> Response:
    return RedirectResponse(sign_in_address(ACCOUNT_PATH), 303)
