"""Owners that a record has from another one: a contact's is its company's.

The form of such a record names the other one. Whatever it says of an owner itself does not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.record_id import RecordIds


@dataclass(frozen=True, slots=True)
class OwnedThrough:
    """field: the form field that names the other record; entity: what that is."""

    field: str
    entity: str

    def key(self, posted: Mapping[str, str], ids: RecordIds = RecordIds.NUMBER) -> tuple[str, str] | None:
        """The other record, or None where the form names none."""
        number = ids.canonical(posted.get(self.field, "").strip())
        return (self.entity, number) if number is not None else None


def read_through(owner: Mapping[str, Any]) -> dict[str, OwnedThrough]:
    """Entity → through which record it is owned, of the validated `owner` of a profile."""
    return {entity: OwnedThrough(one["field"], one["entity"]) for entity, one in owner.get("through", {}).items()}
