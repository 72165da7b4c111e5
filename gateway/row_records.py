"""Whose a row of a table is, told by the names in it: each record's name has a surrogate of its own.

A row counts as a record's when every name in it belongs to just that field of just that record. What is shared, cut, or
no surrogate names nobody.
"""

from collections.abc import Callable, Mapping, Sequence

from kms.scanner import Scanner
from kms.tokens import SurrogateVault, VaultEntry
from policies.operation import FieldSpec
from policies.taxonomy import Kind

Row = Sequence[tuple[FieldSpec | None, str]]


class RowRecords:
    """Finds the records of rows; one per process. scanner: by tenant."""

    def __init__(self, vault: SurrogateVault, scanner: Callable[[str], Scanner]) -> None:
        self._vault = vault
        self._scanner = scanner

    async def of(self, tenant: str, entity: str, rows: Mapping[str, Row]) -> dict[str, str]:
        """Row key → record of this entity, for the rows that tell it; raises KeysUnavailable, StoreUnavailable."""
        scanner = self._scanner(tenant)
        named: dict[str, list[tuple[str, str | None]]] = {}
        for key, row in rows.items():
            for spec, text in row:
                if spec is not None and spec.kind is Kind.NAME and spec.entity == entity and text.strip():
                    named.setdefault(key, []).append((spec.name, scanner.whole(text)))
        wanted = {one for names in named.values() for _, one in names if one is not None}
        entries = await self._vault.resolve(tenant, wanted) if wanted else {}
        found: dict[str, str] = {}
        for key, names in named.items():
            records = set.intersection(
                *(_records(entries.get(one) if one is not None else None, entity, name) for name, one in names)
            )
            if len(records) == 1:
                found[key] = records.pop()
        return found


def _records(entry: VaultEntry | None, entity: str, name: str) -> set[str]:
    """The records in whose field of this name a value stands."""
    origins = entry.origins if entry is not None else ()
    return {one.record for one in origins if one.record and (one.entity, one.field) == (entity, name)}
