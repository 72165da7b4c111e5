"""What a person sees of vault entries and of fields of a record, asked before anything about them is answered."""

from collections.abc import Iterable, Sequence

from gateway.exchange import Exchange
from gateway.facts import asks_team, rights, writing
from gateway.records import ANY_ENTITY, Records
from gateway.settle import records_of, settle
from kms.tokens import VaultEntry
from policies.decision import Decision, Form
from policies.profile import FieldSpec


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
        await self._records.load(exchange.tenant, records_of(given), exchange.received_at, team=asks_team(view))
        return [
            one
            for one in given
            if settle(
                one, view, self._records, exchange.tenant, exchange.crm_user, exchange.received_at, exchange.facts
            )[0]
            >= least
        ]

    async def form_at(self, exchange: Exchange, spec: FieldSpec, record: str | None) -> Form:
        """How the person sees this field of this record; None: a record nobody knows. Raises StoreUnavailable.

        A whole free text may hold every kind, so it takes the form of the least visible one.
        """
        view = decided(exchange).view
        if view.sees_everything:
            return Form.CLEAR
        owned = False
        if record and (exchange.crm_user or view.criteria):
            keys = [(spec.entity, record), (ANY_ENTITY, record)]
            tenant, now = exchange.tenant, exchange.received_at
            await self._records.load(tenant, keys, now, team=asks_team(view))
            owned = bool(exchange.crm_user) and any(
                self._records.owner(tenant, *key, now) == exchange.crm_user for key in keys
            )
            view = rights(view, spec.entity, record, self._records, tenant, now, exchange.facts)
        kinds = view.by_kind if spec.kind is None else (spec.kind,)
        forms = [view.form(spec.entity, spec.name, kind, bound=bool(record), owned=owned) for kind in kinds]
        return min(forms, default=Form.HIDDEN)

    def may_write(self, exchange: Exchange, spec: FieldSpec, records: Sequence[str] | None = None) -> bool:
        """Whether the person may write this field; a whole free text takes the right over every kind in it.

        records: those that it is written to, None: those of the operation.
        """
        view = writing(exchange, spec.entity, records)
        kinds = view.by_kind if spec.kind is None else (spec.kind,)
        return all(view.rule(spec.entity, spec.name, kind).writable for kind in kinds)


def decided(exchange: Exchange) -> Decision:
    """The decision on an exchange; a search is looked at only after it."""
    if exchange.decision is None:
        raise RuntimeError("a search is looked at only after a decision")
    return exchange.decision
