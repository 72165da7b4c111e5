"""What a certificate of erasure says of numbers under FF1: no person's key reaches them, so they are named.

A record that is known to hold one is counted. Where an answer got lost, or the CRM copied a record by itself, nobody
noted it; so every field of that form that the profile declares for a record is named as well.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence

from kms.digit_store import DigitStore

Left = Callable[[str, Sequence[tuple[str, str]]], Awaitable[str]]
_ENDS = "no person's key reaches them; they end when they are overwritten in the CRM, or with the key of their field"


class DigitsLeft:
    """Names them; fields: (entity, field) of this form in the profile."""

    def __init__(self, store: DigitStore, fields: Collection[tuple[str, str]] = ()) -> None:
        self._store = store
        self._fields = fields

    async def told(self, tenant: str, records: Sequence[tuple[str, str]]) -> str:
        """A line about these (entity, record); raises StoreUnavailable."""
        known = await self._store.held_by(tenant, records)
        declared = [(entity, field, record) for entity, record in records for of, field in self._fields if of == entity]
        others = [place for place in declared if place not in known]
        line = f"numbers under FF1 that stay in the CRM: {len(known)}{_named(known)}"
        if others:
            line += f", and up to {len(others)} where none is known{_named(others)}"
        return f"{line}; {_ENDS}"


def _named(places: Sequence[tuple[str, str, str]]) -> str:
    return "" if not places else " (" + " ".join(f"{entity}/{record}.{field}" for entity, field, record in places) + ")"
