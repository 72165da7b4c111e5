"""Which role sees which field in which form: the compiled policy as a table. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from policies.decision import FieldRule, FieldView, Form
from policies.operation import FieldSpec

FORM_NAMES: Mapping[Form, str] = {Form.CLEAR: "clear", Form.MASKED: "masked", Form.HIDDEN: "hidden"}


@dataclass(frozen=True, slots=True)
class Cell:
    """Rights of one role over one field, as names of forms."""

    own: str
    other: str
    writable: bool
    searchable: bool

    @property
    def same(self) -> bool:
        """Whether own and other records are shown alike."""
        return self.own == self.other


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field with a cell for each role."""

    name: str
    kind: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class EntityTable:
    """The fields of one entity."""

    entity: str
    rows: tuple[FieldRow, ...]


def build(fields: Sequence[FieldSpec], views: Mapping[str, FieldView]) -> tuple[EntityTable, ...]:
    """One table per entity; free-text fields are left out, because each value in them goes by its own kind.

    views: role → its compiled rights, in the order of the columns.
    """
    tables: dict[str, list[FieldRow]] = {}
    for spec in fields:
        if spec.kind is None:
            continue
        kind = spec.kind.value
        cells = tuple(_cell(view.rule(spec.entity, spec.name, kind)) for view in views.values())
        tables.setdefault(spec.entity, []).append(FieldRow(spec.name, kind, cells))
    return tuple(EntityTable(entity, tuple(rows)) for entity, rows in sorted(tables.items()))


def _cell(rule: FieldRule) -> Cell:
    return Cell(FORM_NAMES[rule.own], FORM_NAMES[rule.other], rule.writable, rule.searchable)
