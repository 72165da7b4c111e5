"""A whole run, forwards and backwards, over the steps of `work`: what is done, in which order, until nothing is left.

Every loop takes what is still to do from the progress table, so a run that was killed goes on where it stopped.
"""

from collections.abc import Callable

from gateway.protect.work import Checked, Work

INDEX, TODO, BACK = ("found",), ("indexed", "placed"), ("done", "placed", "undoing")
BATCH = 50
ROUNDS = 20

Told = Callable[[str, int], None]
"""(what is going on, how many records more)."""


async def gather(work: Work, run: str, told: Told) -> int:
    """Find every record, and put all names into the vault, so that notes are judged knowing them; how many are new."""
    new = await work.gather(run)
    while rows := await work.store.todo(work.tenant, run, INDEX, BATCH):
        await work.trail("protect.read", rows[0].entity, "", {"count": len(rows)})
        for row in rows:
            await work.index(run, row)
            told("index", 1)
    return new


async def protect_batch(work: Work, run: str, told: Told) -> bool:
    """Protect the next records; whether there were any."""
    rows = await work.store.todo(work.tenant, run, TODO, BATCH)
    for row in rows:
        await work.protect(run, row.entity, row.record)
        told("protect", 1)
    return bool(rows)


async def protect_all(work: Work, run: str, told: Told) -> None:
    """Everything, until a walk through the CRM finds nothing that is not done; then the run is done."""
    for _ in range(ROUNDS):
        new = await gather(work, run, told)
        await work.store.move(work.tenant, run, "protecting")
        while await protect_batch(work, run, told):
            pass
        if not new:
            break
    await work.store.move(work.tenant, run, "done")


async def undo_batch(work: Work, run: str, told: Told) -> bool:
    """Restore the next records; whether there were any."""
    rows = await work.store.todo(work.tenant, run, BACK, BATCH)
    for row in rows:
        await work.undo(run, row.entity, row.record)
        told("undo", 1)
    return bool(rows)


async def undo_all(work: Work, run: str, told: Told) -> int:
    """Everything back; surrogates of this run that the CRM still holds (0 is the only good figure)."""
    await work.store.move(work.tenant, run, "undoing")
    while await undo_batch(work, run, told):
        pass
    left, _ = await work.left(run)
    if left == 0:
        await work.retire(run)
        await work.store.move(work.tenant, run, "undone")
    return left


async def verify_all(work: Work, runs: list[str]) -> Checked:
    """Every record of these runs, and how many records the CRM has that none of them knows."""
    total = Checked()
    known: set[tuple[str, str]] = set()
    for run in runs:
        checked = await work.verify(run)
        total.held += checked.held
        total.changed += checked.changed
        total.clear += checked.clear
        total.missing += checked.missing
        for place, number in checked.places.items():
            total.places[place] = total.places.get(place, 0) + number
        async for row in work.store.rows(work.tenant, run, ("done", "refused", "skipped", "gone", "indexed", "placed")):
            known.add((row.entity, row.record))
    for entity in work.walk.entities:
        async for ids in work.driver.pages(entity):
            total.unknown += sum((entity.entity, one) not in known for one in ids)
    return total
