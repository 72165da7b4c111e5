"""One value inside a request body, and what every opened body offers.

A leaf that is not changed is written back byte for byte; a changed one is encoded for the format it came from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

NO_SIBLINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class Leaf:
    """A value and what becomes of it.

    path: keys, decimal indexes, field name or (column label, row number); text: decoded value; new: its replacement.
    siblings: other string values of the same JSON object, table row or card by key. bare: the value is written as a
    number (JSON, XLSX); once replaced it becomes a string. json: what stands instead of the string in a JSON document,
    as JSON text of any shape; for conditions that become lists.
    """

    path: tuple[str, ...]
    text: str
    new: str | None = None
    siblings: Mapping[str, str] = field(default_factory=lambda: NO_SIBLINGS)
    bare: bool = False
    json: bytes | None = None


class Container(Protocol):
    """A body that was opened for reading and writing its leaves."""

    @property
    def leaves(self) -> Sequence[Leaf]:
        """The leaves in the order in which they stand."""

    def encode(self) -> bytes:
        """The body with every changed leaf replaced; the same bytes if none was."""


def changed(leaf: Leaf) -> bool:
    """Whether the leaf has a new value that differs from the one it came with."""
    return leaf.json is not None or (leaf.new is not None and (leaf.new != leaf.text or leaf.bare))
