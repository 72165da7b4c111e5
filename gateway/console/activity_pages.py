"""Overview, live activity and one entry of the trail with its proof.

The live view asks again every few seconds; those background requests neither keep a session alive nor are audited one
by one, opening the page is. Everything also works as plain links.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit.catalogue import is_pattern
from audit.store import Filters
from audit.verify import LogTampered
from gateway.access.pages import message_page
from gateway.console import health, plot
from gateway.console.pages import ConsolePages
from gateway.console.permissions import HEALTH, LIVE, SESSIONS, USERS, ConsoleRefused
from gateway.console.store import per_minute
from gateway.console.timeline import LOST
from gateway.console.trail import EntryUnknown
from gateway.console.words import FAMILIES, KINDS, REASONS
from gateway.exchange import Principal
from gateway.trail_reading import told_filters

PAGE_ROWS = 50
# How far one page looks back for rows of the wished outcome, which the database cannot filter by.
LOOK_BACK_ROWS = 2_000
RECORD_SIGN = "/"  # contact/42; a record alone is one of any sort
OUTCOMES = ("", "allowed", "refused")
_FILTERS = ("person", "operation", "record", "reason", "kind", "outcome", "tag")
INDEX_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Wish:
    """The filters of the form; empty means anything."""

    person: str = ""
    operation: str = ""
    reason: str = ""
    kind: str = ""
    outcome: str = ""
    record: str = ""
    tag: str = ""
    before: int | None = None

    @property
    def names(self) -> list[str]:
        """Names of the filters in use."""
        return [name for name in _FILTERS if getattr(self, name)]

    def query(self, **changes: str) -> str:
        """The filters as a query string, with changes; starts with "?"."""
        kept = {name: getattr(self, name) for name in self.names} | changes
        return "?" + urlencode({name: value for name, value in kept.items() if value})


class ActivityPages(ConsolePages):
    """What happens now and what happened."""

    async def overview(self, request: Request) -> Response:
        """The state of everything on one page; whoever does not see it begins at the first page they do see."""
        try:
            principal = await self._person(request, LIVE)
        except ConsoleRefused as refused:
            if not (pages := self._deps.access.navigation(refused.principal, str)):
                raise
            return RedirectResponse(pages[0].href, 303)
        return self._page(request, principal, "overview.html", await self._overview(principal))

    async def overview_now(self, request: Request) -> Response:
        """The changing part of the overview, for the page itself."""
        principal = await self._person(request, LIVE, active=False)
        return self._page(request, principal, "overview.html", await self._overview(principal), block="now")

    async def _overview(self, principal: Principal) -> dict[str, Any]:
        deps, now = self._deps, self._deps.access.clock()
        checks = await health.read(deps, principal.tenant) if self._may(principal, HEALTH) else []
        sessions = await deps.access.sessions.list(principal.tenant, now)
        rows = await deps.trail.recent(principal.tenant, 400, Filters())
        return {
            "page": "overview",
            "plot": await self._plot(principal),
            "checks": checks,
            "worst": health.worst(checks) if checks else "",
            "people": len({session.user_id for session in sessions}),
            "sessions": len(sessions),
            "refusals": [row for row in rows if row.refused][:6],
            "may_see_sessions": self._may(principal, SESSIONS),
        }

    async def activity(self, request: Request) -> Response:
        """The live trail with its filters."""
        principal = await self._person(request, LIVE, noted=True)
        wish = read_wish(request)
        filters = await self._filters(principal, wish)
        values = await self._activity(principal, wish, filters)
        asked = {name: getattr(wish, name) for name in wish.names}
        if wish.record:
            asked["record"] = filters.record
        told = told_filters(asked, found=bool(values["rows"]))
        await self._note(request, principal, LIVE, "activity-viewed", 200, filters=told)
        values["paused"] = "pause" in request.query_params or wish.before is not None
        values["plot"] = await self._plot(principal)
        values["people"] = await self._people(principal)
        values["reasons"] = list(REASONS)
        values["kinds"] = KINDS
        values["tags"] = {f"{name}:*": words for name, words in FAMILIES.items()}
        return self._page(request, principal, "activity.html", values)

    async def rows(self, request: Request) -> Response:
        """The rows alone, for the page itself."""
        principal = await self._person(request, LIVE, active=False)
        wish = read_wish(request)
        values = await self._activity(principal, wish, await self._filters(principal, wish)) | {"paused": False}
        return self._page(request, principal, "activity.html", values, block="rows")

    async def entry(self, request: Request) -> Response:
        """One entry with its proof."""
        principal = await self._person(request, LIVE, noted=True)
        index = _index(request.path_params["index"])
        deps = self._deps
        row, proof, tampered = None, None, ""
        try:
            if index is None:
                raise EntryUnknown
            (row,) = await deps.trail.told(principal.tenant, [await deps.trail.entry(principal.tenant, index)])
            await self._note(request, principal, LIVE, "entry-viewed", 200, target=str(index))
            proof = await deps.trail.proof(principal.tenant, index)
        except EntryUnknown:
            return message_page(deps.access, request, "not-found", 404)
        except LogTampered as found:
            tampered = found.finding
            if row is None:  # its segment is gone or was changed
                await self._note(request, principal, LIVE, "entry-viewed", 200, target=str(index))
        values = {
            "page": "activity",
            "number": index,
            "row": row,
            "proof": proof,
            "tampered": tampered,
        }
        return self._page(request, principal, "entry.html", values)

    async def _activity(self, principal: Principal, wish: Wish, filters: Filters) -> dict[str, Any]:
        trail, limit = self._deps.trail, LOOK_BACK_ROWS if wish.outcome else PAGE_ROWS
        rows, found = await trail.listed(principal.tenant, limit, filters, wish.tag, before=wish.before)
        if wish.outcome:
            rows = [row for row in rows if row.refused == (wish.outcome == "refused")]
        older = rows[PAGE_ROWS - 1].index if len(rows) >= PAGE_ROWS else found.further
        return {
            "page": "activity",
            "wish": wish,
            "rows": await trail.told(principal.tenant, rows[:PAGE_ROWS]),
            "unread": {(span.first, span.last): LOST[why] for span, why in found.lost.items()},
            "older": older if older != wish.before else None,
        }

    async def _filters(self, principal: Principal, wish: Wish) -> Filters:
        entity, sign, record = wish.record.partition(RECORD_SIGN)
        if not sign:
            entity, record = "", entity
        names = await self._deps.trail.names_of(principal.tenant, entity, record) if record else []
        return Filters(
            actor=wish.person,
            operation=wish.operation,
            reason=wish.reason,
            kind=wish.kind,
            entity=entity,
            record=names[-1] if names else "",
            records=tuple(names),
        )

    async def _plot(self, principal: Principal) -> plot.Plot:
        now = self._deps.access.clock()
        since = now.replace(second=0, microsecond=0) - timedelta(minutes=plot.MINUTES - 1)
        return plot.draw(await per_minute(self._deps.pool, principal.tenant, since), now)

    async def _people(self, principal: Principal) -> list[tuple[str, str]]:
        if not self._may(principal, USERS):
            return []
        return [(user.id, user.login) for user in await self._deps.access.users.list(principal.tenant)]


def read_wish(request: Request) -> Wish:
    """The filters of a request; what is no filter is passed over."""
    given = request.query_params

    def name(key: str) -> str:
        value = given.get(key, "").strip()
        return value if len(value) <= 200 and value.isascii() and value.isprintable() else ""

    outcome, tag = name("outcome"), name("tag")
    return Wish(
        person=name("person"),
        operation=name("operation"),
        reason=name("reason"),
        kind=name("kind"),
        record=name("record"),
        outcome=outcome if outcome in OUTCOMES else "",
        tag=tag if is_pattern(tag) else "",
        before=_index(given.get("before", "")),
    )


def _index(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= INDEX_DIGITS else None
