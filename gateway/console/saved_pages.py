"""Questions to the trail that people keep, use, change, share and delete; each of it is on record by the id."""

import secrets
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.page import read_form
from gateway.access.pages import message_page
from gateway.access.tokens import new_id
from gateway.console.inquiry import read_inquiry
from gateway.console.pages import ConsolePages
from gateway.console.permissions import AUDIT
from gateway.console.saved_store import NAME_LIMIT_CHARS, NameTaken, SavedQuestion, SavedStore, TooManyKept
from gateway.console.words import N_
from gateway.exchange import Principal

PROBLEMS = {
    "name": N_("Give it a name of at most 80 characters, without line breaks."),
    "taken": N_("You keep a question under this name already."),
    "full": N_("You keep as many questions as you may; delete one first."),
}
NOTICES = {"saved": N_("Saved."), "changed": N_("Changed."), "deleted": N_("Deleted.")}


class SavedPages(ConsolePages):
    """The list, and what may be done to one's own."""

    async def saved(self, request: Request) -> Response:
        """One's own and those that are shared."""
        principal = await self._person(request, AUDIT)
        return await self._list(request, principal)

    async def save(self, request: Request) -> Response:
        """Keep a question under a name."""
        principal = await self._person(request, AUDIT)
        form = await read_form(request)
        clock = self._deps.access.clock
        kept = SavedQuestion(
            new_id("q", secrets.token_bytes), principal.id, principal.login, form.get("name", "").strip(),
            "shared" in form, read_inquiry(form).query(), clock(),
        )  # fmt: skip
        if not _is_name(kept.name):
            return await self._list(request, principal, "name")
        await self._note(request, principal, AUDIT, "question-saved", 201, target=kept.id)
        try:
            await self._store.add(principal.tenant, kept)
        except NameTaken:
            return await self._list(request, principal, "taken")
        except TooManyKept:
            return await self._list(request, principal, "full")
        return RedirectResponse("/trail/saved?notice=saved", 303)

    async def use(self, request: Request) -> Response:
        """Go to the answers."""
        principal = await self._person(request, AUDIT, noted=True)
        kept = await self._find(request, principal)
        if kept is None:
            return message_page(self._deps.access, request, "not-found", 404)
        await self._note(request, principal, AUDIT, "question-used", 303, target=kept.id)
        return RedirectResponse("/trail" + kept.question, 303)

    async def change(self, request: Request) -> Response:
        """Rename or share one's own."""
        principal = await self._person(request, AUDIT)
        kept = await self._find(request, principal)
        if kept is None or kept.owner != principal.id:
            return message_page(self._deps.access, request, "not-found", 404)
        form = await read_form(request)
        name = form.get("name", "").strip()
        if not _is_name(name):
            return await self._list(request, principal, "name")
        await self._note(request, principal, AUDIT, "question-changed", 200, target=kept.id)
        changed = replace(kept, name=name, shared="shared" in form, changed_at=self._deps.access.clock())
        try:
            await self._store.change(principal.tenant, changed)
        except NameTaken:
            return await self._list(request, principal, "taken")
        return RedirectResponse("/trail/saved?notice=changed", 303)

    async def delete(self, request: Request) -> Response:
        """Delete one's own."""
        principal = await self._person(request, AUDIT)
        kept = await self._find(request, principal)
        if kept is None or kept.owner != principal.id:
            return message_page(self._deps.access, request, "not-found", 404)
        await self._note(request, principal, AUDIT, "question-deleted", 200, target=kept.id)
        await self._store.delete(principal.tenant, principal.id, kept.id)
        return RedirectResponse("/trail/saved?notice=deleted", 303)

    @property
    def _store(self) -> SavedStore:
        return SavedStore(self._deps.pool)

    async def _find(self, request: Request, principal: Principal) -> SavedQuestion | None:
        return await self._store.find(principal.tenant, principal.id, request.path_params["saved"])

    async def _list(self, request: Request, principal: Principal, problem: str = "") -> Response:
        values = {
            "page": "trail",
            "saved": await self._store.seen_by(principal.tenant, principal.id),
            "problem": PROBLEMS.get(problem, ""),
            "notice": NOTICES.get(request.query_params.get("notice", ""), ""),
            "name_limit": NAME_LIMIT_CHARS,
        }
        return self._page(request, principal, "trail_saved.html", values, status=422 if problem else 200)


def _is_name(name: str) -> bool:
    return 0 < len(name) <= NAME_LIMIT_CHARS and name.isprintable()
