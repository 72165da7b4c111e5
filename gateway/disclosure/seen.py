"""Whether the CRM has shown a person something of a record, by the trail: what the CRM hides from them stays hidden.

The policy does not know which records the CRM lets somebody open. For a page that is no question, as it shows the mask;
a program names any record, so the trail is asked what was shown to this very session.
"""

from audit.store import Filters
from gateway.console.trail import TrailReader
from gateway.exchange import Principal

LOOK_BACK_ROWS = 1_000


class SeenRecords:
    """Over the trail of an installation."""

    def __init__(self, trail: TrailReader) -> None:
        self._trail = trail

    async def seen(self, principal: Principal, entity: str, record: str) -> bool:
        """Whether an answer to this session showed a value of this record in any form; raises KeysUnavailable,
        StoreUnavailable.

        Which field does not count: a value that stands in two of them is in the trail under one.
        """
        wanted = Filters(actor=principal.id, kind="outcome")
        names = set(await self._trail.names_of(principal.tenant, entity, record))
        for row in await self._trail.recent(principal.tenant, LOOK_BACK_ROWS, wanted):
            told = row.content.get("fields", {})
            if not row.intact or told.get("session") != principal.session_id:
                continue
            shown = told.get("shown", {})
            if any(
                label.startswith(f"{entity}.") and not names.isdisjoint(records) for label, records in shown.items()
            ):
                return True
        return False
