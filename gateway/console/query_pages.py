"""SQL of the trail in the console: ask, follow, stop, page through the rows, fetch them as a file.

A statement comes by POST and stands in no address. It runs in the background; the page asks how far it is.
"""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit.event_row import EVENT, SIGHT
from audit.sql.answer import Answer, Busy, QueryFailed
from audit.sql.refused import StatementRefused
from gateway.access.page import language_of
from gateway.access.pages import message_page
from gateway.console.pages import ConsolePages
from gateway.console.permissions import AUDIT, EXPORT_AUDIT
from gateway.console.query_words import words
from gateway.console.result_plot import draw
from gateway.exchange import Principal
from gateway.query_desk import Asking, Person, QueryDesk
from gateway.query_result import cells, csv_lines

PAGE_ROWS = 100
STOPPED = asyncio.CancelledError()
STATEMENT_LIMIT_CHARS = 20_000


class QueryPages(ConsolePages):
    """The form, and the statements somebody asked."""

    async def form(self, request: Request) -> Response:
        """An empty form with examples and the columns there are."""
        principal = await self._person(request, AUDIT)
        return self._form(request, principal)

    async def ask(self, request: Request) -> Response:
        """Begin a statement and go where it can be followed."""
        principal = await self._person(request, AUDIT)
        desk = self._desk()
        if desk is None:
            return message_page(self._deps.access, request, "not-found", 404)
        given = await request.form(max_fields=3, max_files=0)
        statement = str(given.get("statement", "")).replace("\r\n", "\n")[: STATEMENT_LIMIT_CHARS + 1]

        async def note(reason: str, status: int, fields: Any) -> None:
            await self._note(request, principal, AUDIT, reason, status, **fields)

        asking = desk.begin(_person(principal), statement, note)
        return RedirectResponse(f"/query/{asking.id}", 303)

    async def show(self, request: Request) -> Response:
        """A statement with its progress, or its rows."""
        principal = await self._person(request, AUDIT)
        return self._shown(request, principal, None)

    async def now(self, request: Request) -> Response:
        """How far a statement is, for the page itself."""
        principal = await self._person(request, AUDIT, active=False)
        return self._shown(request, principal, "result")

    async def cancel(self, request: Request) -> Response:
        """Stop a statement."""
        principal = await self._person(request, AUDIT)
        desk, number = self._desk(), request.path_params["query"]
        if desk is not None:
            await desk.cancel(_person(principal), number)
        return RedirectResponse(f"/query/{number}", 303)

    async def csv(self, request: Request) -> Response:
        """The rows as CSV."""
        principal = await self._person(request, EXPORT_AUDIT, noted=True)
        asking = self._asking(request, principal)
        answer = _answer(asking) if asking is not None else None
        if not isinstance(answer, Answer):
            return message_page(self._deps.access, request, "not-found", 404)
        await self._note(request, principal, EXPORT_AUDIT, "query-exported", 200, rows=answer.table.num_rows)
        headers = {"content-disposition": 'attachment; filename="trail.csv"'}
        # Spreadsheets read a file as UTF-8 when it begins so.
        content = "\ufeff" + "".join(csv_lines(answer.table))
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)

    def _desk(self) -> QueryDesk | None:
        return self._deps.queries

    def _asking(self, request: Request, principal: Principal) -> Asking | None:
        desk = self._desk()
        return None if desk is None else desk.find(_person(principal), request.path_params["query"])

    def _form(self, request: Request, principal: Principal, **values: Any) -> Response:
        if self._desk() is None:
            return message_page(self._deps.access, request, "not-found", 404)
        told = {
            "page": "query",
            "tables": (("event", EVENT.names), ("sight", SIGHT.names)),
            "statement": "",
            "state": "none",
            "may_export": self._may(principal, EXPORT_AUDIT),
        }
        block = values.pop("block", None)
        return self._page(request, principal, "query.html", told | values, block=block)

    def _shown(self, request: Request, principal: Principal, block: str | None) -> Response:
        asking = self._asking(request, principal)
        if asking is None:
            return self._form(request, principal, state="gone", block=block)
        told: dict[str, Any] = {"statement": asking.statement, "asking": asking, "block": block}
        found = _answer(asking)
        if found is None:
            return self._form(request, principal, state="running", **told)
        if isinstance(found, Answer):
            return self._form(request, principal, state="done", **told, **_rows(request, found))
        if isinstance(found, StatementRefused | QueryFailed | Busy):
            language = language_of(self._deps.access, request, principal)
            problem = words(found, language.sentences.gettext)
            return self._form(request, principal, state="failed", problem=problem, **told)
        if found is not STOPPED:
            raise found
        return self._form(request, principal, state="stopped", **told)


def _answer(asking: Asking) -> Answer | BaseException | None:
    """What came of a statement; None while it runs."""
    task = asking.task
    if task is None or not task.done():
        return None
    if task.cancelled():
        return STOPPED
    return task.exception() or task.result()


def _rows(request: Request, answer: Answer) -> dict[str, Any]:
    pages = max(1, -(-answer.table.num_rows // PAGE_ROWS))
    given = request.query_params.get("page", "1")
    page = min(pages, max(1, int(given))) if given.isascii() and given.isdigit() and len(given) < 7 else 1
    return {
        "answer": answer,
        "columns": answer.table.column_names,
        "rows": cells(answer.table, (page - 1) * PAGE_ROWS, PAGE_ROWS),
        "number": page,
        "pages": pages,
        "drawn": draw(answer.table),
    }


def _person(principal: Principal) -> Person:
    return principal.tenant, principal.id
