"""Where a person may come from: the form on the person's page of the console.

Audited before it is done, with the lists before and after. Nobody changes their own.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.page import read_form
from gateway.access.pages import message_page
from gateway.access.place_store import PlaceStore
from gateway.access.user import AppUser
from gateway.console.deps import ConsoleDeps
from gateway.console.pages import ConsolePages
from gateway.console.permissions import CHANGE_USER
from gateway.entry import ListInvalid, written
from gateway.exchange import Principal


class PlacePages(ConsolePages):
    """The networks of one person."""

    def __init__(self, deps: ConsoleDeps) -> None:
        super().__init__(deps)
        self._store = PlaceStore(deps.pool)

    async def show(self, request: Request) -> Response:
        """The list as it is."""
        principal = await self._person(request, CHANGE_USER)
        user = await self._deps.access.users.get(principal.tenant, request.path_params["user"])
        if user is None:
            return message_page(self._deps.access, request, "not-found", 404)
        kept = await self._store.networks(principal.tenant, user.id) or ""
        return self._form(request, principal, user, kept.replace(" ", "\n"), "")

    async def change(self, request: Request) -> Response:
        """Bind the person to a list, or to none."""
        principal = await self._person(request, CHANGE_USER)
        user = await self._deps.access.users.get(principal.tenant, request.path_params["user"])
        if user is None:
            return message_page(self._deps.access, request, "not-found", 404)
        typed = (await read_form(request)).get("networks", "")
        if user.id == principal.id:
            return self._form(request, principal, user, typed, "own-list")
        try:
            networks = written(typed.replace(",", " ").split())
        except ListInvalid as invalid:
            return self._form(
                request, principal, user, typed, "network-invalid" if invalid.entry else "networks-too-many"
            )
        before = await self._store.networks(principal.tenant, user.id) or ""
        await self._note(
            request,
            principal,
            CHANGE_USER,
            "user-networks-changed",
            303,
            target=user.id,
            change=[
                *(f"-{one}" for one in before.split() if one not in networks.split()),
                *(f"+{one}" for one in networks.split() if one not in before.split()),
            ],
        )
        await self._store.set_networks(principal.tenant, user.id, networks)
        return RedirectResponse("/users?notice=user-changed", 303)

    def _form(self, request: Request, principal: Principal, user: AppUser, typed: str, problem: str) -> Response:
        values = {"page": "users", "user": user, "networks": typed, "problem": problem}
        values |= {"own": user.id == principal.id}
        return self._page(request, principal, "networks.html", values, status=422 if problem else 200)
