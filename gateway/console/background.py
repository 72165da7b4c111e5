"""Work that takes longer than a page may: it runs in the background, and pages follow it by its key.

It belongs to the process it runs in. A page that is answered by another node begins it there, too, so only what reads
may run here. One piece of work at a time: pages may be asked for by many.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result")
Tell = Callable[[float], None]
KEPT = 8
KEPT_S = 600.0


@dataclass
class Run(Generic[Result]):
    """Work under way or done. part: of it, 0 to 1; begun: by the loop's clock."""

    begun: float
    part: float = 0.0
    task: "asyncio.Task[Result] | None" = None

    def tell(self, part: float) -> None:
        """How far it is; called from threads, too."""
        self.part = part

    @property
    def done(self) -> bool:
        """Whether there is a result or a fault."""
        return self.task is not None and self.task.done()


class Runs(Generic[Result]):
    """Work by key; results are kept for a while."""

    def __init__(self) -> None:
        self._runs: dict[Hashable, Run[Result]] = {}
        self._turn = asyncio.Lock()

    def find(self, key: Hashable) -> Run[Result] | None:
        """What runs or ran under a key, unless it is too old."""
        run = self._runs.get(key)
        if run is None or (run.done and asyncio.get_running_loop().time() - run.begun > KEPT_S):
            return None
        return run

    def begin(self, key: Hashable, work: Callable[[Tell], Awaitable[Result]]) -> Run[Result]:
        """Begin work under a key. work: told how to say how far it is."""
        run: Run[Result] = Run(asyncio.get_running_loop().time())

        async def in_turn() -> Result:
            async with self._turn:
                return await work(run.tell)

        run.task = asyncio.create_task(in_turn())
        self._runs.pop(key, None)
        self._runs[key] = run
        for old in [one for one, known in self._runs.items() if known.done][:-KEPT]:
            del self._runs[old]
        return run

    def forget(self, key: Hashable) -> None:
        """Drop a result, so that the next look begins anew."""
        run = self._runs.get(key)
        if run is not None and run.done:
            del self._runs[key]

    async def wait(self, run: Run[Result], seconds: float | None) -> None:
        """Wait for work that is quick; None: until it is done."""
        assert run.task is not None
        await asyncio.wait({run.task}, timeout=seconds)

    def result(self, key: Hashable) -> Result | None:
        """The result, None while there is none. Raises what the work raised, which is forgotten then."""
        run = self._runs.get(key)
        if run is None or run.task is None or not run.task.done():
            return None
        try:
            return run.task.result()
        except BaseException:
            self._runs.pop(key, None)
            raise
