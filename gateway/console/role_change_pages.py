"""Rights that wait for a second person: what was asked for, and the pages that agree to it or take it back."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.giving import rights_changed
from gateway.access.pages import message_page
from gateway.access.role_change_store import RoleChange
from gateway.access.role_changes import RoleChangeRefused
from gateway.access.users import AccountRefused
from gateway.console.pages import ConsolePages
from gateway.console.permissions import AGREE_RIGHTS, CHANGE_USER, USERS, Right
from gateway.console.words import RIGHTS_REASONS
from gateway.exchange import Principal


class RoleChangePages(ConsolePages):
    """List, one with its difference, and both decisions."""

    async def changes(self, request: Request) -> Response:
        """All that waits."""
        principal = await self._person(request, USERS)
        waiting = await self._deps.access.role_changes.waiting(principal.tenant)
        values = {
            "page": "changes",
            "changes": [(one, rights_changed(one.before, one.after)) for one in waiting],
            "reasons": RIGHTS_REASONS,
            "two_people": self._deps.access.role_changes.giving.two_people,
            "notice": request.query_params.get("notice", ""),
        }
        return self._page(request, principal, "role_changes.html", values)

    async def change(self, request: Request) -> Response:
        """One that waits, with what would come and go."""
        principal = await self._person(request, USERS)
        try:
            found = await self._deps.access.role_changes.find(principal.tenant, request.path_params["change"])
        except RoleChangeRefused:
            return message_page(self._deps.access, request, "not-found", 404)
        return await self._one(request, principal, found)

    async def approve(self, request: Request) -> Response:
        """A second person agrees."""
        principal = await self._person(request, AGREE_RIGHTS, proof=True)
        changes, name = self._deps.access.role_changes, request.path_params["change"]
        try:
            found = await changes.check_approval(principal.tenant, name, principal.id)
            await self._decided(request, principal, AGREE_RIGHTS, "rights-agreed", found)
            await changes.approve(principal.tenant, name, principal.id)
        except (RoleChangeRefused, AccountRefused) as refused:
            return await self._refused(request, principal, AGREE_RIGHTS, name, refused.problem)
        return RedirectResponse("/changes?notice=rights-agreed", 303)

    async def withdraw(self, request: Request) -> Response:
        """Whoever may ask or agree takes it back."""
        changes, name = self._deps.access.role_changes, request.path_params["change"]
        principal = await self._person(request, USERS, proof=True)
        right = AGREE_RIGHTS if self._may(principal, AGREE_RIGHTS) else CHANGE_USER
        principal = await self._person(request, right, proof=True)
        try:
            found = await changes.find(principal.tenant, name)
            await self._decided(request, principal, right, "rights-withdrawn", found)
            await changes.withdraw(principal.tenant, name, principal.id)
        except RoleChangeRefused as refused:
            return await self._refused(request, principal, right, name, refused.problem)
        return RedirectResponse("/changes?notice=rights-withdrawn", 303)

    async def _decided(
        self, request: Request, principal: Principal, right: Right, reason: str, found: RoleChange
    ) -> None:
        await self._note(
            request,
            principal,
            right,
            reason,
            303,
            target=found.user_id,
            roles=sorted(found.after.everything),
            change=rights_changed(found.before, found.after),
            detail=[found.id, found.reason, found.asked_by],
        )

    async def _refused(self, request: Request, principal: Principal, right: Right, name: str, problem: str) -> Response:
        await self._note(request, principal, right, "rights-refused", 422, target=name, detail=problem)
        try:
            found = await self._deps.access.role_changes.find(principal.tenant, name)
        except RoleChangeRefused:
            return message_page(self._deps.access, request, "not-found", 404)
        return await self._one(request, principal, found, problem)

    async def _one(self, request: Request, principal: Principal, found: RoleChange, problem: str = "") -> Response:
        user = await self._deps.access.users.get(principal.tenant, found.user_id)
        values = {
            "page": "changes",
            "change": found,
            "user": user,
            "signed": rights_changed(found.before, found.after),
            "reasons": RIGHTS_REASONS,
            "problem": problem,
            "own": principal.id in (found.user_id, found.asked_by),
            "may_agree": self._may(principal, AGREE_RIGHTS),
            "may_withdraw": self._may(principal, AGREE_RIGHTS) or self._may(principal, CHANGE_USER),
            "notice": request.query_params.get("notice", ""),
        }
        return self._page(request, principal, "role_change.html", values, status=422 if problem else 200)
