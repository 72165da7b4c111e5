"""The ledger of reveals: who had which masked value of which record revealed, when and why."""

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.pages import message_page
from gateway.console.activity_pages import read_wish
from gateway.console.pages import ConsolePages
from gateway.console.permissions import AUDIT, LIVE, USERS
from gateway.disclosure.store import PAGE_ROWS

NAME_LIMIT_CHARS = 200


class LedgerPages(ConsolePages):
    """One page with two filters; reading it is on record."""

    async def ledger(self, request: Request) -> Response:
        """The newest reveals first."""
        principal = await self._person(request, AUDIT, noted=True)
        desk, tenant = self._deps.ledger, principal.tenant
        if desk is None:
            return message_page(self._deps.access, request, "not-found", 404)
        person, record, before = read_wish(request).person, _name(request, "record"), _name(request, "before")
        used = [name for name, given in (("person", person), ("record", record)) if given]
        await self._note(request, principal, AUDIT, "reveals-viewed", 200, filters=used)
        names = await desk.people.names_of(tenant, "", record) if record else []
        rows = await desk.ledger.page(tenant, actor=person, records=names, before=before)
        people = []
        if self._may(principal, USERS):
            people = [(user.id, user.login) for user in await self._deps.access.users.list(tenant)]
        values = {
            "page": "reveals",
            "lines": await desk.lines(tenant, rows),
            "older": rows[-1].id if len(rows) == PAGE_ROWS else None,
            "person": person,
            "record": record,
            "people": people,
            "may_see_trail": self._may(principal, LIVE),
        }
        return self._page(request, principal, "reveals.html", values)


def _name(request: Request, key: str) -> str:
    """A filter as it was typed; what is no name is passed over."""
    value = request.query_params.get(key, "").strip()
    return value if len(value) <= NAME_LIMIT_CHARS and value.isprintable() else ""
