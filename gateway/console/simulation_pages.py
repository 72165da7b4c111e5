"""What the last days would have been under a bundle: the replay runs in the background and its page follows it."""

from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.pages import message_page
from gateway.bundles.bundle import StoredBundle
from gateway.bundles.desk import PolicyDesk
from gateway.bundles.replaying import Replay, replay
from gateway.console.background import Runs, Tell
from gateway.console.deps import ConsoleDeps
from gateway.console.pages import ConsolePages
from gateway.console.permissions import POLICY
from gateway.console.policy_pages import read_number
from gateway.console.policy_words import ACTIONS, CHANGES, PROBLEMS
from policies.rows import PolicyInvalid

DAYS = (1, 7, 30)
ENTRIES_LIMIT = 200_000
"""Entries of the trail that a page looks at; the command line takes more."""
WAIT_S = 2.0
"""How long the first answer waits for a replay that is quick."""
LINES_SHOWN = 200


class SimulationPages(ConsolePages):
    """One page a bundle and period."""

    def __init__(self, deps: ConsoleDeps) -> None:
        super().__init__(deps)
        self._runs: Runs[Replay] = Runs()

    async def simulation(self, request: Request) -> Response:
        """The result, or how far the replay is."""
        return await self._answer(request, active=True)

    async def now(self, request: Request) -> Response:
        """The same alone, for the page itself."""
        return await self._answer(request, active=False)

    async def _answer(self, request: Request, *, active: bool) -> Response:
        principal = await self._person(request, POLICY, active=active)
        desk = self._deps.desk(principal.tenant)
        number = read_number(request.path_params["number"])
        bundle = await desk.store.find(desk.tenant, number) if number else None
        if bundle is None:
            return message_page(self._deps.access, request, "not-found", 404)
        days = read_number(request.query_params.get("days", ""))
        days = days if days in DAYS else 7
        key = (desk.tenant, number, days)
        run = self._runs.find(key)
        if run is None:
            await self._note(request, principal, POLICY, "policy-simulated", 200, target=str(number))
            run = self._runs.begin(key, partial(self._replay, desk, bundle, days))
        if active:
            await self._runs.wait(run, WAIT_S)
        values: dict[str, Any] = {
            "page": "policy",
            "bundle": bundle,
            "days": days,
            "choices": DAYS,
            "part": run.part,
            "result": None,
            "invalid": (),
            "actions": ACTIONS,
            "changes": CHANGES,
            "problems": PROBLEMS,
            "shown": LINES_SHOWN,
        }
        try:
            values["result"] = self._runs.result(key)
        except PolicyInvalid as invalid:
            values["invalid"] = invalid.problems
        return self._page(request, principal, "simulation.html", values, block=None if active else "result")

    async def _replay(self, desk: PolicyDesk, bundle: StoredBundle, days: int, tell: Tell) -> Replay:
        return await replay(desk, self._deps.pool, bundle, days, limit=ENTRIES_LIMIT, tell=tell)
