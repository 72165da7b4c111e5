"""Policy bundles in the console: every version, one with its rows, changes and checks, and the steps of its life.

The pages call what `crmgate policy` calls. Each step is a page of its own that says what will happen, needs a fresh
proof of a factor, and is judged by the desk again: the right, the state, and that nobody publishes what they drafted.
"""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.deps import client_of
from gateway.access.pages import message_page
from gateway.bundles.bundle import State, StoredBundle
from gateway.bundles.desk import BundleRefused, PolicyDesk
from gateway.bundles.looking import look_at
from gateway.console.pages import ConsolePages
from gateway.console.permissions import CHANGE_POLICY, POLICY, PUBLISH_POLICY, ConsoleRefused, Right
from gateway.console.policy_words import PROBLEMS, STATES
from gateway.exchange import Principal
from gateway.key_step import NotAllowed, Present
from kms.destruction import Person
from policies.rows import PolicyInvalid

ROWS_LIMIT_CHARS = 40_000
CHECKS_LIMIT_CHARS = 10_000
NOTE_LIMIT_CHARS = 500
"""What a form takes: 64 KiB in all. Longer texts are for `crmgate policy draft`."""
NUMBER_LIMIT = 2**31

PROPOSE, PUBLISH, ROLLBACK = "propose", "publish", "rollback"
STEPS: dict[str, tuple[State, Right]] = {
    PROPOSE: (State.DRAFT, CHANGE_POLICY),
    PUBLISH: (State.PROPOSED, PUBLISH_POLICY),
    ROLLBACK: (State.RETIRED, CHANGE_POLICY),
}
"""Step → the state it begins in and the right it needs."""


class PolicyPages(ConsolePages):
    """Bundles of the tenant."""

    async def bundles(self, request: Request) -> Response:
        """Every bundle, the newest first."""
        principal = await self._person(request, POLICY)
        values = {
            "bundles": await self._desk(principal).store.every(principal.tenant),
            "may_change": self._may(principal, CHANGE_POLICY),
        }
        return self._show(request, principal, "policies.html", values)

    async def new(self, request: Request) -> Response:
        """The form for a draft, filled with the bundle named in `from` or the one in force."""
        principal = await self._person(request, CHANGE_POLICY, proof=True)
        desk = self._desk(principal)
        base = await self._found(desk, request.query_params.get("from", ""))
        rows = await desk.in_force() if base is None else base.rows
        form = {"rows": rows, "checks": "" if base is None else base.checks, "note": ""}
        return self._form(request, principal, form, "")

    async def draft(self, request: Request) -> Response:
        """Keep what was written as a draft; it may still be wrong."""
        principal = await self._person(request, CHANGE_POLICY, proof=True)
        form = await _read(request)
        if not form["rows"].strip():
            return self._form(request, principal, form, "policy-empty")
        if any(len(form[name]) > limit for name, limit in _LIMITS.items()):
            return self._form(request, principal, form, "policy-text")
        try:
            number = await self._desk(principal).draft(
                present_of(request, principal), form["rows"], form["checks"], form["note"]
            )
        except BundleRefused as refused:
            return self._form(request, principal, form, refused.reason)
        except NotAllowed:
            raise ConsoleRefused(principal, CHANGE_POLICY) from None
        return RedirectResponse(f"/policy/{number}?notice=drafted", 303)

    async def bundle(self, request: Request) -> Response:
        """One bundle: who did what with it, what it changes, how its checks do, its rows."""
        principal = await self._person(request, POLICY)
        desk = self._desk(principal)
        found = await self._found(desk, request.path_params["number"])
        if found is None:
            return message_page(self._deps.access, request, "not-found", 404)
        return await self._one(request, principal, desk, found)

    async def ask_step(self, request: Request) -> Response:
        """Ask before a step."""
        return await self._step(request, take=False)

    async def step(self, request: Request) -> Response:
        """Propose, publish or ask for an earlier bundle again."""
        return await self._step(request, take=True)

    async def _step(self, request: Request, *, take: bool) -> Response:
        step = request.path_params["step"]
        _, right = STEPS.get(step, (None, POLICY))
        principal = await self._person(request, right, proof=step in STEPS)
        desk = self._desk(principal)
        found = await self._found(desk, request.path_params["number"])
        if found is None or step not in STEPS:
            return message_page(self._deps.access, request, "not-found", 404)
        if not take:
            return await self._confirm(request, principal, desk, found, step)
        note = (await _read(request))["note"][:NOTE_LIMIT_CHARS]
        try:
            number = await self._take(desk, present_of(request, principal), found.number, step, note)
        except NotAllowed:
            raise ConsoleRefused(principal, right) from None
        except BundleRefused as refused:
            return await self._confirm(request, principal, desk, found, step, refused.reason)
        except PolicyInvalid:
            return await self._confirm(request, principal, desk, found, step, "policy-invalid")
        return RedirectResponse(f"/policy/{number}?notice={step}", 303)

    async def _take(self, desk: PolicyDesk, who: Present, number: int, step: str, note: str) -> int:
        if step == ROLLBACK:
            return await desk.restore(who, number, note)
        await (desk.propose(who, number) if step == PROPOSE else desk.publish(who, number))
        return number

    async def _confirm(
        self,
        request: Request,
        principal: Principal,
        desk: PolicyDesk,
        found: StoredBundle,
        step: str,
        problem: str = "",
    ) -> Response:
        if not problem and found.state is not STEPS[step][0]:
            problem = "policy-state"
        if not problem and step == PUBLISH and found.drafted.by == principal.id:
            problem = "four-eyes"
        values = {"bundle": found, "step": step, "problem": problem, "look": await self._look(desk, found)}
        return self._show(request, principal, "policy_step.html", values, status=422 if problem else 200)

    async def _one(self, request: Request, principal: Principal, desk: PolicyDesk, found: StoredBundle) -> Response:
        values = {
            "bundle": found,
            "look": await self._look(desk, found),
            "steps": [
                step for step, (state, right) in STEPS.items() if found.state is state and self._may(principal, right)
            ],
            "own": found.drafted.by == principal.id,
            "may_change": self._may(principal, CHANGE_POLICY),
        }
        return self._show(request, principal, "policy.html", values)

    async def _look(self, desk: PolicyDesk, found: StoredBundle) -> Any:
        in_force = await desk.in_force()
        now = desk.clock().timestamp()
        accounts = await desk.joined()
        return await asyncio.to_thread(
            look_at, found, in_force, desk.tenant, desk.profile, now, separated=desk.separated, accounts=accounts
        )

    def _form(self, request: Request, principal: Principal, form: dict[str, str], problem: str) -> Response:
        values = {"form": form, "problem": problem, "limits": _LIMITS}
        return self._show(request, principal, "policy_new.html", values, status=422 if problem else 200)

    def _desk(self, principal: Principal) -> PolicyDesk:
        return self._deps.desk(principal.tenant)

    async def _found(self, desk: PolicyDesk, number: str) -> StoredBundle | None:
        wanted = read_number(number)
        return await desk.store.find(desk.tenant, wanted) if wanted else None

    def _show(
        self, request: Request, principal: Principal, template: str, values: dict[str, Any], *, status: int = 200
    ) -> Response:
        shared = {
            "page": "policy",
            "states": STATES,
            "problems": PROBLEMS,
            "notice": request.query_params.get("notice", ""),
        }
        return self._page(request, principal, template, shared | values, status=status)


def read_number(text: str) -> int:
    """The number of a bundle in an address; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) < NUMBER_LIMIT else 0


def present_of(request: Request, principal: Principal) -> Present:
    """Who takes a step at the console, as desks know it."""
    return Present(Person(principal.id, principal.login), principal.roles, client_of(request.scope), principal.trace)


_LIMITS = {"rows": ROWS_LIMIT_CHARS, "checks": CHECKS_LIMIT_CHARS, "note": NOTE_LIMIT_CHARS}


async def _read(request: Request) -> dict[str, str]:
    """The texts of a form, with the line ends of files instead of those of forms."""
    form = await request.form(max_fields=10, max_files=0)
    given = {name: form.get(name, "") for name in _LIMITS}
    return {name: value.replace("\r\n", "\n") if isinstance(value, str) else "" for name, value in given.items()}
