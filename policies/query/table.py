"""Which declared field a column of a query is: the objects of a CRM as its query language names them.

A column that is neither a declared field nor named as plain is unknown, and unknown counts as the most sensitive. Names
are compared without case, because SOQL does and a stricter CRM loses nothing by it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from policies.operation import FieldSpec
from policies.query.parsed import Column

ANY = "*"


class Standing(StrEnum):
    """What is known of a column. PLAIN: holds nothing personal; TEXT: free text, its personal parts are protected."""

    PLAIN = "plain"
    FIELD = "field"
    TEXT = "text"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Table:
    """One object. columns: lower-case name → field; plain: patterns; relations: name → the object it leads to.

    composed: columns that the CRM makes of others, first to last. sorted_as: plain columns that the CRM sorts by
    another one's values (a look-up by the name it shows).
    """

    columns: Mapping[str, FieldSpec] = field(default_factory=dict)
    plain: tuple[str, ...] = ()
    relations: Mapping[str, str] = field(default_factory=dict)
    composed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sorted_as: Mapping[str, FieldSpec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tables:
    """All objects of a profile, by lower-case name; `*` is every other one."""

    by_name: Mapping[str, Table] = field(default_factory=dict)
    known: frozenset[str] = frozenset()

    def standing(self, column: Column) -> tuple[Standing, FieldSpec | None]:
        """What a column is, and its field."""
        table = self._at((*column.table, *column.names[:-1]))
        if table is None:
            return Standing.UNKNOWN, None
        if not column.names:
            return Standing.PLAIN, None
        name = column.names[-1].lower()
        spec = table.columns.get(name)
        if spec is not None:
            return (Standing.TEXT if spec.kind is None and spec.form == "surrogate" else Standing.FIELD), spec
        if name in table.relations or any(fnmatchcase(name, one) for one in table.plain):
            return Standing.PLAIN, None
        return Standing.UNKNOWN, None

    def sorted_as(self, column: Column) -> FieldSpec | None:
        """The field whose values order the rows when somebody sorts by a column that is plain otherwise."""
        table = self._at((*column.table, *column.names[:-1]))
        return table.sorted_as.get(column.names[-1].lower()) if table is not None and column.names else None

    def made_of(self, column: Column) -> list[tuple[str, FieldSpec]]:
        """The columns that make up another one, with their fields; none for a column of its own."""
        table = self._at((*column.table, *column.names[:-1]))
        if table is None or not column.names:
            return []
        return [(one, table.columns[one.lower()]) for one in table.composed.get(column.names[-1].lower(), ())]

    def _at(self, names: Sequence[str]) -> Table | None:
        """The object behind a name and the relations below it."""
        if not names:
            return None
        table = self.by_name.get(names[0].lower()) or self.by_name.get(ANY)
        for name in names[1:]:
            if table is None or name.lower() not in table.relations:
                return None
            table = self.by_name.get(table.relations[name.lower()].lower()) or self.by_name.get(ANY)
        return table


def compile_tables(
    source: Mapping[str, Mapping[str, Any]], resolve: Callable[[str, str], FieldSpec | None]
) -> tuple[Tables, list[str]]:
    """The objects of a profile's `tables`, and what is wrong with them.

    resolve: a field by its name in the profile, and the place for its own complaint.
    """
    found: dict[str, Table] = {}
    known: set[str] = set()
    problems = []
    for name, entry in source.items():
        specs = {
            column: resolve(field_name, f"table {name}") for column, field_name in entry.get("columns", {}).items()
        }
        relations = {key.lower(): target for key, target in entry.get("relations", {}).items()}
        for target in relations.values():
            if target not in source and ANY not in source:
                problems.append(f"table {name}: there is no table {target}")
        columns = {column.lower(): spec for column, spec in specs.items() if spec is not None}
        plain = tuple(one.lower() for one in entry.get("plain", ()))
        if any(fnmatchcase(column, one) for column in columns for one in plain if one != ANY) or ANY in plain:
            problems.append(f"table {name}: a column cannot be a field and plain, and not every column is plain")
        composed = {key.lower(): tuple(names) for key, names in entry.get("composed", {}).items()}
        for key, names in composed.items():
            if any(one not in columns for one in (key, *(each.lower() for each in names))):
                problems.append(f"table {name}: {key} and what it is composed of have to be columns")
        as_field = {key: resolve(one, f"table {name}") for key, one in entry.get("sorted_as", {}).items()}
        sorted_as = {key.lower(): spec for key, spec in as_field.items() if spec is not None}
        table = Table(columns, plain, relations, composed, sorted_as)
        for each in (name, *entry.get("also", ())):
            if each.lower() in found:
                problems.append(f"table {each} is declared twice")
            found[each.lower()] = table
        known |= {*columns, *relations, *plain}
    return Tables(found, frozenset(known)), problems
