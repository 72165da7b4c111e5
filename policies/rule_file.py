"""Compiles the sets of rules of a profile's source: which field stands where in a body, and what a search looks at."""

from collections.abc import Iterable, Mapping
from typing import Any

from policies.asked_file import column_rules, search_clause
from policies.column import ColumnRule
from policies.dialect_file import Places, selects
from policies.element import selected
from policies.field_file import selector_of
from policies.operation import BodyRule, FieldSpec, SearchRule, Where
from policies.taxonomy import Kind


class RuleSets:
    """Finds rules by the names of their sets. fields: (entity, name) → field; problems: what is wrong is added there.

    arguments: places of arguments in the calls of a dialect, while one is compiled.
    """

    def __init__(
        self, source: Mapping[str, Any], fields: Mapping[tuple[str, str], FieldSpec], problems: list[str]
    ) -> None:
        self._source = source
        self._fields = fields
        self._problems = problems
        self.arguments: Places = {}

    def field(self, name: str | None, entity: str, place: str) -> FieldSpec | None:
        """A field by `entity.field` or `.field` (of the operation's entity); "text" is free text."""
        if name is None or name == "text":
            return None
        owner, _, short = name.rpartition(".")
        spec = self._fields.get((owner or entity, short))
        if spec is None:
            self._problems.append(f"{place}: field {name!r} is not declared for {owner or entity}")
        return spec

    def body(self, names: Iterable[str], entity: str, place: str) -> tuple[BodyRule, ...]:
        found: list[BodyRule] = []
        for name in names:
            entries = self._source.get("rule_sets", {}).get(name)
            if entries is None:
                self._problems.append(f"{place}: rule set {name!r} does not exist")
                continue
            found.extend(
                self._rule({**entry, "select": list(select)}, entity, f"rule set {name}")
                for entry in map(selected, entries)
                for select in selects(entry["select"], self.arguments)
            )
        return tuple(found)

    def _rule(self, entry: Mapping[str, Any], entity: str, place: str) -> BodyRule:
        def resolve(names: Mapping[str, str]) -> dict[str, FieldSpec]:
            found = {key: self.field(name, entity, place) for key, name in names.items()}
            return {key: spec for key, spec in found.items() if spec is not None}

        column = entry.get("column")
        return BodyRule(
            selector_of(entry["select"]),
            self.field(entry.get("field"), entity, place),
            (entry["sibling"], resolve(entry["fields"])) if "sibling" in entry else None,
            (tuple(column["header"]), self._positional(column["fields"], entity, place)) if column else None,
            resolve(entry["shape"]) if "shape" in entry else None,
            entry.get("row_id", ""),
            resolve(entry["empties"]) if "empties" in entry else None,
        )

    def _positional(self, names: Mapping[str, str], entity: str, place: str) -> dict[str, FieldSpec | None]:
        """Columns of positional rows; `shape` leaves the choice to the value's shape."""
        return {key: None if name == "shape" else self.field(name, entity, place) for key, name in names.items()}

    def searches(self, names: Iterable[str], entity: str, place: str) -> tuple[SearchRule, ...]:
        found: list[SearchRule] = []
        for name in names:
            entries = self._source.get("search_sets", {}).get(name)
            if entries is None:
                self._problems.append(f"{place}: search set {name!r} does not exist")
                continue
            for entry in self._selected(entries):
                if entry.get("order"):
                    continue
                columns = entry.get("columns")
                found.append(
                    SearchRule(
                        Where(entry["where"]),
                        selector_of(entry["select"]),
                        self.field(entry.get("field"), entity, place),
                        None
                        if columns is None
                        else {column: self.field(named, entity, place) for column, named in columns.items()},
                        frozenset(entry.get("equality", ("=", "in"))),
                        entry.get("strip", ""),
                        entry.get("compare", ""),
                        entry.get("lookup", ""),
                        _kinds(entry.get("kinds", {})),
                        _kinds(entry.get("begins", {})),
                        entry.get("beside", {}),
                        {column: tuple(names) for column, names in entry.get("spread", {}).items()},
                        {column: tuple(names) for column, names in entry.get("spread_begins", {}).items()},
                        entry.get("at_least", 0),
                        entry.get("language", ""),
                        entry.get("table", ""),
                        search_clause(entry),
                        tuple(spec for one in entry.get("among", ()) if (spec := self.field(one, entity, place))),
                    )
                )
        return tuple(found)

    def _selected(self, entries: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
        for entry in map(selected, entries):
            for select in selects(entry["select"], self.arguments):
                yield {**entry, "select": list(select)}

    def columns(self, names: Iterable[str], entity: str, place: str) -> tuple[ColumnRule, ...]:
        sets = self._source.get("search_sets", {})
        entries = [entry for name in names for entry in self._selected(sets.get(name, ()))]
        return tuple(
            rule for entry in entries for rule in column_rules(entry, lambda name: self.field(name, entity, place))
        )


def _kinds(columns: Mapping[str, Iterable[str]]) -> dict[str, tuple[Kind, ...]]:
    return {column: tuple(map(Kind, kinds)) for column, kinds in columns.items()}
