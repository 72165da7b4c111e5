"""Emergency roles in the console: asked for, agreed to, objected to; and the line that tells everybody who watches."""

from datetime import timedelta

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.deps import client_of
from gateway.access.emergencies import EmergencyRefused
from gateway.access.page import read_form
from gateway.access.user import AppUser
from gateway.console.pages import ConsolePages
from gateway.console.permissions import AGREE_EMERGENCY, ASK_EMERGENCY, EMERGENCY, END_EMERGENCY, ConsoleRefused, Right
from gateway.console.words import EMERGENCY_REASONS
from gateway.exchange import Principal

HOURS = ("0.5", "1", "2", "4", "8")


class EmergencyPages(ConsolePages):
    """List, form and the three steps."""

    async def emergencies(self, request: Request) -> Response:
        """What waits, what is open, what is over; and the form."""
        principal = await self._person(request, EMERGENCY)
        return await self._all(request, principal)

    async def ask(self, request: Request) -> Response:
        """Take a role for a while."""
        principal = await self._person(request, ASK_EMERGENCY, proof=True)
        form, desk = await read_form(request), self._deps.emergencies
        hours = form.get("hours", "")
        try:
            lasts = timedelta(hours=float(hours) if hours in HOURS else 0)
            user = await self._account(principal)
            await desk.ask(user, form.get("role", ""), lasts, form.get("reason", ""), client_of(request.scope))
        except EmergencyRefused as refused:
            return await self._refused(request, principal, ASK_EMERGENCY, refused, form)
        return RedirectResponse("/emergency?notice=asked", 303)

    async def approve(self, request: Request) -> Response:
        """A second person agrees: it opens at once."""
        principal = await self._person(request, AGREE_EMERGENCY, proof=True)
        name, user = request.path_params["emergency"], await self._account(principal)
        try:
            await self._deps.emergencies.approve(principal.tenant, name, user, client_of(request.scope))
        except EmergencyRefused as refused:
            return await self._refused(request, principal, AGREE_EMERGENCY, refused, {})
        return RedirectResponse("/emergency?notice=agreed", 303)

    async def end(self, request: Request) -> Response:
        """End one, or object to it: whoever has the right, and whose it is."""
        principal = await self._person(request, EMERGENCY)
        name = request.path_params["emergency"]
        current = await self._deps.emergencies.current(principal.tenant)
        if not self._may(principal, END_EMERGENCY) and (name, principal.id) not in {(e.id, e.user_id) for e in current}:
            raise ConsoleRefused(principal, END_EMERGENCY)
        try:
            user = await self._account(principal)
            await self._deps.emergencies.end(principal.tenant, name, user, client_of(request.scope))
        except EmergencyRefused as refused:
            return await self._refused(request, principal, END_EMERGENCY, refused, {})
        return RedirectResponse("/emergency?notice=ended", 303)

    async def _account(self, principal: Principal) -> AppUser:
        """The account of whoever asks, without the roles of an emergency."""
        found = await self._deps.access.users.get(principal.tenant, principal.id)
        if found is None:
            raise EmergencyRefused("gone")
        return found

    async def _refused(
        self, request: Request, principal: Principal, right: Right, refused: EmergencyRefused, form: dict[str, str]
    ) -> Response:
        await self._note(request, principal, right, "emergency-refused", 422, detail=refused.problem)
        return await self._all(request, principal, refused.problem, form)

    async def _all(
        self, request: Request, principal: Principal, problem: str = "", form: dict[str, str] | None = None
    ) -> Response:
        desk, user = self._deps.emergencies, await self._account(principal)
        known = self._deps.policy(principal.tenant).roles
        offered = [role for role in sorted(known) if role not in user.assigned]
        values = {
            "page": "emergency",
            "current": await desk.current(principal.tenant),
            "past": await desk.past(principal.tenant),
            "offered": [role for role in offered if not self._joins(user, role)],
            "hours": [one for one in HOURS if timedelta(hours=float(one)) <= desk.rules.most],
            "reasons": EMERGENCY_REASONS,
            "delay": int(desk.rules.delay.total_seconds() // 60),
            "form": {"role": "", "hours": "", "reason": ""} | (form or {}),
            "problem": problem,
            "may_ask": self._may(principal, ASK_EMERGENCY),
            "may_agree": self._may(principal, AGREE_EMERGENCY),
            "may_end": self._may(principal, END_EMERGENCY),
            "notice": request.query_params.get("notice", ""),
        }
        return self._page(request, principal, "emergency.html", values, status=422 if problem else 200)

    def _joins(self, user: AppUser, role: str) -> bool:
        return self._deps.access.users.giving.joins(user.tenant, {*user.roles, role})
