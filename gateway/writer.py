"""The one who writes: what he sees of an entry, where he may write, what his masks stand for, and what he adds.

What values and running text have in common on their way in; one body's needs are its `Work`.
"""

from collections.abc import Sequence
from functools import partial

from gateway.facts import writing
from gateway.records import Records
from gateway.settle import records_of, settle
from gateway.standing import IMPORTED, Place, cell_of, note_text
from gateway.treatment import Target, Work
from gateway.typed import Brought, remember
from gateway.unchanged import says_the_same
from gateway.writeback import restore_mask
from kms.scanner import Scanner
from kms.tokens import NewValue, Origin, SurrogateVault, VaultEntry
from policies.decision import Form
from policies.profile import FieldSpec


class Writer:
    """Answers for whoever writes; one per process."""

    def __init__(self, vault: SurrogateVault, records: Records) -> None:
        self._vault = vault
        self._records = records
        self._brought = Brought()

    def may_write(self, work: Work, target: Target, spec: FieldSpec) -> bool:
        """Whether the field is this person's to write."""
        if work.exchange.decision is None:
            return False
        kind = str(spec.kind) if spec.kind is not None else ""
        return writing(work.exchange, spec.entity, target.records).rule(spec.entity, spec.name, kind).writable

    def form(self, work: Work, entry: VaultEntry) -> Form:
        """What the person sees of an entry, by what is known of its records; see `loaded_form`."""
        exchange = work.exchange
        if exchange.decision is None:
            return Form.HIDDEN
        form, _ = settle(
            entry,
            exchange.decision.view,
            self._records,
            exchange.tenant,
            exchange.crm_user,
            exchange.received_at,
            exchange.facts,
        )
        return form

    async def loaded_form(self, work: Work, entry: VaultEntry) -> Form:
        """The same once the owners of its records were read; raises StoreUnavailable."""
        await self._records.load(work.exchange.tenant, records_of([entry]), work.exchange.received_at)
        return self.form(work, entry)

    async def restored(
        self, work: Work, scanner: Scanner, target: Target, text: str, spec: FieldSpec | None
    ) -> VaultEntry | None:
        """The entry a posted mask stands for, None when it is no mask.

        Raises Refusal(MASK_RETURNED), KeysUnavailable, StoreUnavailable.
        """
        row = work.row(target)
        if row is not None and spec is not None and (under := row.under(spec, text, work.mask_char)) is not None:
            return under
        exchange, places = work.exchange, work.places(target)
        form = partial(self.loaded_form, work)
        record = places[0] if len(places) == 1 else None
        return await restore_mask(self._vault, scanner, exchange.tenant, text, spec, record, work.mask_char, form)

    async def same(self, work: Work, scanner: Scanner, target: Target, spec: FieldSpec, held: str) -> bool:
        """Whether a text says what the CRM holds; it goes on as that then. Raises KeysUnavailable, StoreUnavailable."""
        form, leaf = partial(self.loaded_form, work), target.leaf
        if not await says_the_same(self._vault, scanner, work.exchange, held, leaf.text, spec, form, work.mask_char):
            return False
        leaf.new = held
        note_text(work.exchange, scanner, work.stands(target, spec), held, alone=target.alone)
        return True

    async def is_open(self, work: Work, stands: Sequence[Place]) -> bool:
        """Whether an import brought values for such a field of which nobody knows in which records they stand.

        Raises StoreUnavailable.
        """
        names = {place[:2] for place in stands}
        return bool(names) and await self._vault.is_open(work.exchange.tenant, names, IMPORTED)

    def share(self, work: Work, target: Target, entry: VaultEntry, spec: FieldSpec) -> None:
        """A surrogate written into a field gets that origin only if the writer sees the value in clear.

        A mask is not enough: where a role sees more of its own records, pasting would turn the mask into the value.
        """
        if self.form(work, entry) is not Form.CLEAR:
            # What waits for its record must not find it here.
            if any(origin.record is None for origin in entry.origins):
                work.pasted[entry.surrogate] = Origin(spec.entity, spec.name, None)
            return
        for record in work.places(target) or (None,):
            origin = Origin(spec.entity, spec.name, record)
            if origin not in entry.origins:
                (work.met if target.row else work.shared).append((entry.surrogate, origin))

    async def placed(self, work: Work, given: Sequence[tuple[Target, NewValue]]) -> list[str]:
        """Surrogates of new values; what may be shown again as it was typed is remembered.

        Raises KeysUnavailable, StoreUnavailable.
        """
        exchange, surrogates = work.exchange, [""] * len(given)
        for table in (False, True):
            mine = [number for number, (target, _) in enumerate(given) if (target.records == ()) is table]
            values = [given[number][1] for number in mine]
            cell = cell_of(exchange, table=table)
            placed = await self._vault.place(exchange.tenant, values, cell, apart=cell.startswith(IMPORTED))
            await remember(self._vault, exchange, placed, partial(self.loaded_form, work), self._brought)
            for number, (surrogate, _) in zip(mine, placed, strict=True):
                surrogates[number] = surrogate
        return surrogates
