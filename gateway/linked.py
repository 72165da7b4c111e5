"""Cells of an imported table that name a record of another kind, as a contact's row names its company.

The CRM looks the name up among its own records, so it has to get the very surrogate that stands there. Only a name that
the writer sees in clear in exactly one value counts: nothing is learnt by guessing, and where two records are called
alike the cell stays a name of its own, which the CRM does not find.
"""

from collections.abc import Sequence
from dataclasses import replace

from gateway.records import Records
from gateway.settle import records_of
from gateway.table_rows import is_mask
from gateway.treatment import Target, Treatment, Work
from gateway.writer import Writer
from kms.tokens import SurrogateVault, VaultEntry
from policies.decision import Form
from policies.operation import FieldSpec
from policies.profile import label_key


def names_record(target: Target, entity: str) -> bool:
    """Whether a cell stands in a column by which rows of an entity name a record of another one (field: linked)."""
    spec = target.spec
    if spec is None or not spec.linked or not target.row or spec.entity == entity:
        return False
    return target.treatment is Treatment.VALUE and label_key(target.leaf.path[0]) in map(label_key, spec.linked)


class LinkedRecords:
    """Finds what such cells name; one per process."""

    def __init__(self, vault: SurrogateVault, records: Records, writer: Writer) -> None:
        self._vault = vault
        self._records = records
        self._writer = writer

    async def put(self, work: Work, targets: Sequence[Target]) -> frozenset[int]:
        """Set `leaf.new` where a cell names one record; the ids of these targets, which are done.

        Raises KeysUnavailable, StoreUnavailable.
        """
        naming = [one for one in targets if names_record(one, work.entity) and _is_typed(work, one)]
        if not naming:
            return frozenset()
        entries = await self._known(work, naming)
        done: set[int] = set()
        for target in naming:
            assert target.spec is not None
            kind = str(target.spec.kind)
            seen = [one for one in entries.get((kind, target.leaf.text), ()) if self._sees(work, one, target.spec)]
            if len(seen) == 1:
                target.leaf.new = seen[0].surrogate
                done.add(id(target))
        return frozenset(done)

    async def _known(self, work: Work, naming: Sequence[Target]) -> dict[tuple[str, str], list[VaultEntry]]:
        """Everything that is called so, by kind and text, its records' owners being loaded."""
        texts: dict[str, set[str]] = {}
        for one in naming:
            assert one.spec is not None
            texts.setdefault(str(one.spec.kind), set()).add(one.leaf.text)
        tenant, found = work.exchange.tenant, {}
        for kind, some in texts.items():
            for text, surrogates in (await self._vault.find_known(tenant, kind, sorted(some))).items():
                found[kind, text] = surrogates
        every = {one for some in found.values() for one in some}
        resolved = dict(await self._vault.resolve(tenant, every))
        await self._records.load(tenant, records_of(resolved.values()), work.exchange.received_at)
        return {key: [resolved[one] for one in some if one in resolved] for key, some in found.items()}

    def _sees(self, work: Work, entry: VaultEntry, spec: FieldSpec) -> bool:
        """Whether the writer sees it in clear in such a field of some record; each record is judged by itself."""
        there = (one for one in entry.origins if (one.entity, one.field) == (spec.entity, spec.name) and one.record)
        return any(self._writer.form(work, replace(entry, origins=(one,))) is Form.CLEAR for one in there)


def _is_typed(work: Work, target: Target) -> bool:
    """Whether the cell holds a clear name; a mask and a surrogate go the way of every other cell."""
    text = target.leaf.text
    return bool(text.strip()) and not is_mask(text) and not work.returned.inside(text)
