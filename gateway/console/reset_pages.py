"""Reset of lost factors in the console: started by one administrator, approved by another."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.page import read_form
from gateway.access.pages import message_page
from gateway.access.resets import ResetRefused
from gateway.access.user import AppUser
from gateway.console.people_pages import CAUSES, PeoplePages
from gateway.console.permissions import AGREE_RIGHTS, CHANGE_USER, USERS
from gateway.exchange import Principal

START, APPROVE, WITHDRAW = "reset", "approve-reset", "withdraw-reset"


class ResetPages(PeoplePages):
    """The three steps; each asks first, on a page of its own."""

    async def ask_start(self, request: Request) -> Response:
        """Ask before a reset is started."""
        return await self._ask(request, START)

    async def ask_approve(self, request: Request) -> Response:
        """Ask before a reset is approved."""
        return await self._ask(request, APPROVE)

    async def ask_withdraw(self, request: Request) -> Response:
        """Ask before a reset is taken back."""
        return await self._ask(request, WITHDRAW)

    async def start(self, request: Request) -> Response:
        """The first administrator starts it."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        user, resets = await self._user(principal, request), self._deps.access.resets
        if user is None:
            return message_page(self._deps.access, request, "not-found", 404)
        cause = (await read_form(request)).get("cause", "")
        if cause not in CAUSES and user.id != principal.id:
            return self._confirm(request, principal, user, START, "cause-missing")
        try:
            await resets.check_start(user, principal.id)
            await self._note(request, principal, CHANGE_USER, "reset-started", 303, target=user.id, detail=cause)
            await resets.start(user, principal.id)
        except ResetRefused as refused:
            return await self._refused(request, principal, user, START, refused)
        return RedirectResponse(f"/users/{user.id}?notice=reset-started", 303)

    async def approve(self, request: Request) -> Response:
        """A second administrator approves it and gets the invitation link."""
        principal = await self._second(request)
        user, resets = await self._user(principal, request), self._deps.access.resets
        if user is None:
            return message_page(self._deps.access, request, "not-found", 404)
        try:
            waiting = await resets.check_approval(user, principal.id)
            await self._note(
                request, principal, CHANGE_USER, "user-reset", 200, target=user.id, detail=waiting.started_by
            )
            token, expires = await resets.approve(user, principal.id)
        except ResetRefused as refused:
            return await self._refused(request, principal, user, APPROVE, refused)
        return self._invited(request, principal, user, token, expires)

    async def withdraw(self, request: Request) -> Response:
        """Any administrator takes it back before it is approved."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        user, resets = await self._user(principal, request), self._deps.access.resets
        if user is None:
            return message_page(self._deps.access, request, "not-found", 404)
        await self._note(request, principal, CHANGE_USER, "reset-withdrawn", 303, target=user.id)
        try:
            await resets.withdraw(user)
        except ResetRefused as refused:
            return await self._refused(request, principal, user, WITHDRAW, refused)
        return RedirectResponse(f"/users/{user.id}?notice=reset-withdrawn", 303)

    async def _second(self, request: Request) -> Principal:
        """Who may approve: whoever may start a reset, or agrees to rights where those are different people."""
        principal = await self._person(request, USERS)
        agrees = self._may(principal, AGREE_RIGHTS)
        return await self._person(request, AGREE_RIGHTS if agrees else CHANGE_USER, proof=True)

    async def _ask(self, request: Request, action: str) -> Response:
        if action == APPROVE:
            principal = await self._second(request)
        else:
            principal = await self._person(request, CHANGE_USER, proof=True)
        user = await self._user(principal, request)
        if user is None:
            return message_page(self._deps.access, request, "not-found", 404)
        return self._confirm(request, principal, user, action, "")

    async def _refused(
        self, request: Request, principal: Principal, user: AppUser, action: str, refused: ResetRefused
    ) -> Response:
        await self._note(request, principal, CHANGE_USER, "reset-refused", 422, target=user.id, detail=refused.problem)
        return self._confirm(request, principal, user, action, refused.problem)
