"""The words of the way in: one leaf with its treatment, a text, and what one body needs from the vault."""

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from gateway.body.leaf import Leaf
from gateway.exchange import Exchange
from gateway.standing import Place
from gateway.wording import Piece
from gateway.writeback import Returned
from kms.tokens import NewValue, Origin
from policies.operation import StorageForm
from policies.profile import FieldSpec
from policies.taxonomy import Kind

if TYPE_CHECKING:
    from gateway.table_rows import RowRecord

UNDECLARED = "undeclared"  # field name of origins that no profile declares
LINE_ROOM = 16  # characters of the surrogate of an address
_LINE_BREAK = re.compile("(\r\n|\r|\n)")
SOME_RECORD = "record"  # entity of operations that work on records of any type


class Treatment(Enum):
    """What happens to one leaf."""

    LEAVE = "leave"
    VALUE = "value"
    TEXT = "text"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class Target:
    """One leaf with its treatment; spec is None for undeclared leaves.

    records: the records this very leaf is written to, where they are not those of the whole operation. alone: whether
    the leaf is all that its field holds, by a rule of the profile that names one place. path: where the leaf stands in
    the body itself; None inside something else (a file, a string that holds JSON). row: of a table, which row it
    stands in; "" elsewhere.
    """

    leaf: Leaf
    treatment: Treatment
    spec: FieldSpec | None = None
    records: tuple[str, ...] | None = None
    alone: bool = False
    path: tuple[str, ...] | None = None
    row: str = ""


@dataclass(slots=True)
class Prose:
    """One text on its way in; text changes while masks are put back."""

    target: Target
    text: str
    pieces: list[Piece] = field(default_factory=list)


@dataclass(slots=True)
class Work:
    """What one body needs from the vault: filled by reading, emptied by writing.

    names: (row, field) → clear text and surrogate of the names of one person, new ones and those that came back.
    rows: the records that rows of a table tell of; met: surrogates of theirs that go out again, with where they stand.
    """

    exchange: Exchange
    records: tuple[str, ...]
    mask_char: str
    returned: Returned = field(default_factory=Returned)
    values: list[tuple[Target, FieldSpec, NewValue]] = field(default_factory=list)
    shared: list[tuple[str, Origin]] = field(default_factory=list)
    pasted: dict[str, Origin] = field(default_factory=dict)
    names: dict[int, dict[str, tuple[str, str]]] = field(default_factory=dict)
    rows: dict[str, "RowRecord"] = field(default_factory=dict)
    met: list[tuple[str, Origin]] = field(default_factory=list)

    def row(self, target: Target) -> "RowRecord | None":
        """The record that the row of a cell tells of."""
        return self.rows.get(target.row) if target.row else None

    @property
    def entity(self) -> str:
        """Entity of the operation, or "" when nothing matched."""
        return self.exchange.operation.entity if self.exchange.operation is not None else ""

    def places(self, target: Target) -> tuple[str, ...]:
        """Records a leaf is written to; none where the number in the request is that of another entity's record."""
        if target.records is not None:
            return target.records
        foreign = target.spec is not None and target.spec.entity != self.entity and self.entity != SOME_RECORD
        return () if foreign else self.records

    def stands(self, target: Target, spec: FieldSpec) -> list[Place]:
        """The field of each record a leaf is written to."""
        return [(spec.entity, spec.name, record) for record in self.places(target)]


def in_other_form(target: Target) -> bool:
    """Whether the profile declares another form than surrogates for this leaf."""
    spec = target.spec
    return spec is not None and spec.form is not StorageForm.SURROGATE and target.treatment is not Treatment.LEAVE


def is_lines(target: Target) -> bool:
    """Whether this is an address of several lines that has room for a surrogate in each, or a list of values."""
    spec, text = target.spec, target.leaf.text
    if spec is not None and spec.several and spec.several in text:
        return target.treatment is Treatment.VALUE
    if target.treatment is not Treatment.VALUE or spec is None or spec.kind != Kind.ADDRESS:
        return False
    lines = _LINE_BREAK.split(text)
    room = sum(len(line) if line.isspace() else max(len(line), LINE_ROOM) for line in lines)
    return len(lines) > 1 and (spec.max_chars <= 0 or room <= spec.max_chars)


def by_line(target: Target) -> list[Target]:
    """An address line by line, so that the CRM breaks, joins and counts the lines of surrogates as it would theirs.

    A list of values value by value.
    """
    several = target.spec.several if target.spec is not None else ""
    pattern = re.compile(rf"(\s*{re.escape(several)}\s*)") if several else _LINE_BREAK
    return [
        replace(
            target,
            leaf=Leaf(target.leaf.path, part, siblings=target.leaf.siblings),
            treatment=Treatment.LEAVE if not part.strip(several + " \t\r\n") else Treatment.VALUE,
        )
        for part in pattern.split(target.leaf.text)
    ]
