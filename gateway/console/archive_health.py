"""What the health page says of the archive of the trail."""

from datetime import datetime
from typing import Any

from audit.cold import segment_store
from audit.store import size
from gateway.archiving import LATE
from gateway.console.deps import ConsoleDeps
from gateway.console.words import N_

GOOD, WARNING, BAD = "good", "warning", "bad"


async def read_archive(deps: ConsoleDeps, tenant: str) -> tuple[str, str, dict[str, Any], str]:
    """State, fact, its values, and what helps; raises psycopg errors."""
    state = deps.archive[tenant]
    async with deps.pool.of(tenant) as connection:
        newest = await segment_store.newest_segment(connection, tenant)
        sealed = newest.last + 1 if newest else 0
        start = await segment_store.hot_start(connection, tenant)
        total = await size(connection, tenant)
        waiting = await segment_store.time_of(connection, tenant, sealed)
    values: dict[str, Any] = {"sealed": sealed, "hot": total - start, "fault": state.fault}
    if state.fault == "trail-tampered" or state.fault == "segment-broken":
        fact = N_("Sealing stopped: what is stored is not what was signed (%(fault)s).")
        return BAD, fact, values, N_("Keep a copy of database and archive, and run crmgate audit verify.")
    if _late(waiting, deps.access.clock()):
        fact = N_("%(sealed)s entries sealed; the next ones wait for more than two days (%(fault)s). Nothing is lost.")
        return BAD, fact, values, N_("See that the archive can be reached, has room, and that its key is valid.")
    if state.fault:
        fact = N_("%(sealed)s entries sealed; the archive could not be used (%(fault)s) and is tried again.")
        return WARNING, fact, values, N_("See that the archive can be reached, has room, and that its key is valid.")
    if state.held is not None:
        values["hold"] = state.held.id
        return GOOD, N_("%(sealed)s entries sealed, %(hot)s in the database; hold %(hold)s keeps old ones."), values, ""
    return GOOD, N_("%(sealed)s entries sealed, %(hot)s in the database."), values, ""


def _late(waiting: datetime | None, now: datetime) -> bool:
    """Whether a day was not sealed after it ended."""
    return waiting is not None and now - waiting > LATE
