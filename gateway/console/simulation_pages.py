"""What the last days would have been under a bundle: the replay runs in the background and its page follows it.

A replay belongs to the process it runs in. A page that is answered by another node begins one there, too: it reads
only, and says the same.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.access.pages import message_page
from gateway.bundles.bundle import StoredBundle
from gateway.bundles.desk import PolicyDesk
from gateway.bundles.replaying import Replay, replay
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
KEPT = 8
KEPT_S = 600.0
LINES_SHOWN = 200


@dataclass
class Run:
    """A replay under way or done. part: of its work, 0 to 1."""

    key: tuple[str, int, int]
    started: float
    part: float = 0.0
    task: "asyncio.Task[Replay] | None" = field(default=None)

    def tell(self, part: float) -> None:
        """How far it is; called from threads, too."""
        self.part = part


class SimulationPages(ConsolePages):
    """One page a bundle and period."""

    def __init__(self, deps: ConsoleDeps) -> None:
        super().__init__(deps)
        self._runs: dict[tuple[str, int, int], Run] = {}
        self._turn = asyncio.Lock()

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
        run = self._runs.get((desk.tenant, number, days))
        if run is None or run.task is None or self._old(run):
            await self._note(request, principal, POLICY, "policy-simulated", 200, target=str(number))
            run = self._start(desk, bundle, days)
        assert run.task is not None
        if active:
            await asyncio.wait({run.task}, timeout=WAIT_S)
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
        if run.task.done():
            self._done(run, values)
        return self._page(request, principal, "simulation.html", values, block=None if active else "result")

    def _done(self, run: Run, values: dict[str, Any]) -> None:
        """The result of a replay; one that failed is not kept. Raises StoreUnavailable, OSError."""
        assert run.task is not None
        try:
            values["result"] = run.task.result()
        except PolicyInvalid as invalid:
            self._runs.pop(run.key, None)
            values["invalid"] = invalid.problems
        except BaseException:
            self._runs.pop(run.key, None)
            raise

    def _old(self, run: Run) -> bool:
        return asyncio.get_running_loop().time() - run.started > KEPT_S

    def _start(self, desk: PolicyDesk, bundle: StoredBundle, days: int) -> Run:
        run = Run((desk.tenant, bundle.number, days), asyncio.get_running_loop().time())
        run.task = asyncio.create_task(self._replay(desk, bundle, days, run))
        self._runs.pop(run.key, None)
        self._runs[run.key] = run
        for key in [key for key, one in self._runs.items() if one.task is not None and one.task.done()][:-KEPT]:
            del self._runs[key]
        return run

    async def _replay(self, desk: PolicyDesk, bundle: StoredBundle, days: int, run: Run) -> Replay:
        async with self._turn:  # one at a time: pages may be asked for by many
            return await replay(desk, self._deps.pool, bundle, days, limit=ENTRIES_LIMIT, tell=run.tell)
