"""What a person sees of vault entries, asked before anything about them is answered."""

from collections.abc import Iterable, Sequence

from gateway.exchange import Exchange
from gateway.records import Records
from gateway.settle import records_of, settle
from kms.tokens import VaultEntry
from policies.decision import Decision, Form


class Sight:
    """Judges entries for the principal of an exchange; one per process."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def seen(self, exchange: Exchange, entries: Iterable[VaultEntry], least: Form) -> list[VaultEntry]:
        """The entries that the person sees somewhere in this form at least; raises StoreUnavailable."""
        given: Sequence[VaultEntry] = list(entries)
        view = decided(exchange).view
        if view.sees_everything or not given:
            return list(given)
        await self._records.load(exchange.tenant, records_of(given), exchange.received_at)
        return [
            one
            for one in given
            if settle(one, view, self._records, exchange.tenant, exchange.crm_user, exchange.received_at)[0] >= least
        ]


def decided(exchange: Exchange) -> Decision:
    """The decision on an exchange; a search is looked at only after it."""
    if exchange.decision is None:
        raise RuntimeError("a search is looked at only after a decision")
    return exchange.decision
