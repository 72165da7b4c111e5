"""Which role sees which field in which form: the compiled policy as a table. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from policies.decision import FieldRule, FieldView, Form
from policies.operation import FieldSpec
from policies.rows import Grant

FORM_NAMES: Mapping[Form, str] = {Form.CLEAR: "clear", Form.MASKED: "masked", Form.HIDDEN: "hidden"}


@dataclass(frozen=True, slots=True)
class Limit:
    """A row that holds for some records or for some time: what it says, as rows say it, and whether it denies."""

    denies: bool
    text: str


@dataclass(frozen=True, slots=True)
class Cell:
    """Rights of one role over one field, as names of forms, of records nothing else is known of.

    own_export, other_export: the form in exports; reveal: "" (never), "own", "other" or "any" records; limits: rows
    with criteria, of a team, or with a window.
    """

    own: str
    other: str
    writable: bool
    searchable: bool
    own_export: str = ""
    other_export: str = ""
    reveal: str = ""
    limits: tuple[Limit, ...] = ()

    @property
    def same(self) -> bool:
        """Whether own and other records are shown alike."""
        return self.own == self.other

    @property
    def exports_differ(self) -> bool:
        """Whether exports show less than pages."""
        return (self.own, self.other) != (self.own_export, self.other_export)

    @property
    def exports_same(self) -> bool:
        """Whether exports show own and other records alike."""
        return self.own_export == self.other_export


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


def build(
    fields: Sequence[FieldSpec],
    views: Mapping[str, FieldView],
    exports: Mapping[str, FieldView],
    limited: Callable[[str, str], Iterable[Grant]],
) -> tuple[EntityTable, ...]:
    """One table per entity; free-text fields are left out, because each value in them goes by its own kind.

    views, exports: role → its compiled rights, in the order of the columns; limited: of a role, the rows about an
    object that do not hold for every record and for good.
    """
    tables: dict[str, list[FieldRow]] = {}
    for spec in fields:
        if spec.kind is None:
            continue
        kind = spec.kind.value
        obj = f"field:{spec.entity}.{spec.name}#{kind}"
        cells = tuple(
            _cell(
                view.rule(spec.entity, spec.name, kind),
                exports[role].rule(spec.entity, spec.name, kind),
                limited(role, obj),
            )
            for role, view in views.items()
        )
        tables.setdefault(spec.entity, []).append(FieldRow(spec.name, kind, cells))
    return tuple(EntityTable(entity, tuple(rows)) for entity, rows in sorted(tables.items()))


def _cell(rule: FieldRule, export: FieldRule, limited: Iterable[Grant]) -> Cell:
    reveal = {(True, True): "any", (True, False): "own", (False, True): "other"}
    limits = [Limit(row.effect == "deny", f"{row.right} {row.scope}{row.tail.replace(',', ' ')}") for row in limited]
    return Cell(
        FORM_NAMES[rule.own],
        FORM_NAMES[rule.other],
        rule.writable,
        rule.searchable,
        FORM_NAMES[export.own],
        FORM_NAMES[export.other],
        reveal.get((rule.revealable_own, rule.revealable_other), ""),
        tuple(dict.fromkeys(limits)),
    )
