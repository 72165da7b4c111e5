"""Programs that may come in: each credential with what it may do, from where, until when, and when it was last used.

Only a list: credentials are made, changed and ended at the command line, where the token is shown once.
"""

from starlette.requests import Request
from starlette.responses import Response

from gateway.console.deps import ConsoleDeps
from gateway.console.pages import ConsolePages
from gateway.console.permissions import CHANGE_USER
from gateway.identity.store import IdentityStore


class ProgramPages(ConsolePages):
    """The API clients of the tenant."""

    def __init__(self, deps: ConsoleDeps) -> None:
        super().__init__(deps)
        self._store = IdentityStore(deps.pool)

    async def programs(self, request: Request) -> Response:
        """Every credential, the newest first."""
        principal = await self._person(request, CHANGE_USER)
        values = {
            "page": "programs",
            "programs": await self._store.clients(principal.tenant),
            "now": self._deps.access.clock(),
        }
        return self._page(request, principal, "programs.html", values)
