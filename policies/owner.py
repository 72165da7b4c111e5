"""Whose a record is where it does not simply belong to who makes it.

A record may have its owner from another one: a contact's is its company's. The form of such a record names the other
one, and whatever it says of an owner itself does not count. Or a JSON body names the owner beside the values.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.field_file import selector_of
from policies.record_id import RecordIds
from policies.selector import matches

POSTED = "owner"
"""The name under which an exchange keeps the owner that a JSON body names."""


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """Where a JSON body names the owner. pattern: what of the leaf is the key of a CRM user, None for all of it.

    beside: a member of the same object with its value, where that says what the leaf is.
    """

    selector: tuple[str, ...]
    pattern: "re.Pattern[str] | None" = None
    beside: tuple[tuple[str, str], ...] = ()

    def key(self, text: str) -> str:
        """The CRM user that a leaf names; "" for what names none, such as a team."""
        if self.pattern is None:
            return text
        found = self.pattern.fullmatch(text)
        return found[1] if found is not None else ""


def posted_owner(
    rules: Sequence[OwnerRule],
    leaves: Iterable[tuple[tuple[str, ...], str, Mapping[str, str]]],
    ids: RecordIds,
) -> str | None:
    """The owner that a body names; "" where it names several or none that is understood; None where it names none.

    leaves: path, text and siblings of each.
    """
    found = {
        rule.key(text)
        for path, text, siblings in leaves
        for rule in rules
        if matches(rule.selector, path) and all(siblings.get(key) == value for key, value in rule.beside)
    }
    if not found:
        return None
    (one, *others) = found
    return "" if others else ids.canonical(one) or one


def read_posted(owner: Mapping[str, Any]) -> list[OwnerRule]:
    """Where bodies name owners, of the validated `owner` of a profile."""
    return [
        OwnerRule(
            selector_of(one["select"]),
            re.compile(one["pattern"]) if "pattern" in one else None,
            tuple(one.get("beside", {}).items()),
        )
        for one in owner.get("posted", ())
    ]


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
