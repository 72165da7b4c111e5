"""What the values in arguments of a GraphQL field mean: tests of a filter, what is stored, which records they name."""

from collections.abc import Mapping

from policies.graphql.mapping import Argument, Compare, FieldMap, GraphqlMap, Means, TypeMap
from policies.graphql.part import Box, By, Part, Path, Stored, Test, Unknown, Used
from policies.graphql.value import Shape, Value
from policies.record_id import RecordIds
from policies.requests import BULK_LIMIT


class Arguments:
    """Notes them in one part of a request. mutation: whether the part writes."""

    def __init__(self, mapping: GraphqlMap, ids: RecordIds, part: Part, *, mutation: bool) -> None:
        self.map, self.ids, self.part, self.mutation = mapping, ids, part, mutation

    def read(self, path: Path, value: Value, argument: Argument | None) -> None:
        """One argument. argument: what the profile says of it; path: its name."""
        part = self.part
        kind = self.map.types.get(argument.type) if argument is not None else None
        match argument.means if argument is not None else None:
            case Means.FILTER:
                self._filter(path, value, kind)
            case Means.ORDER:
                self._by(value, kind, By.ORDER)
            case Means.GROUP:
                self._by(value, kind, By.GROUP)
            case Means.INPUT:
                self._input(path, value, kind, alone=True)
            case Means.FIELD if argument is not None and argument.fields:
                self._test(path, argument.fields[0].name, FieldMap(argument.fields[0]), value, "")
            case Means.SEARCH if argument is not None:
                part.boxes += [Box(one, argument.fields, path) for one in value.leaves()]
            case Means.RECORD:
                self._records(value)
                self._free(path, value)
            case Means.PLAIN:
                self._given(path, value)
            case _:
                part.unknown.append((Unknown.ARGUMENT, path[-1]))
                self._given(path, value)

    def _free(self, path: Path, value: Value) -> None:
        self.part.loose += [(path, one) for one in value.leaves() if one.shape is Shape.TEXT]

    def _given(self, path: Path, value: Value) -> None:
        """An argument of no declared meaning: a mutation may store it, so it must not become what is only asked for."""
        if self.mutation:
            self.part.stored += [Stored(one, path, {}) for one in value.leaves() if one.shape is Shape.TEXT]
        else:
            self._free(path, value)

    def _records(self, value: Value) -> None:
        for one in value.leaves():
            canonical = self.ids.canonical(one.text.strip())
            if canonical is not None and len(self.part.records) < BULK_LIMIT:
                self.part.records[canonical] = None

    def _filter(self, path: Path, value: Value, kind: TypeMap | None) -> None:
        if value.is_null:
            return
        if value.shape is Shape.LIST:
            for number, one in enumerate(value.items):
                self._filter((*path, str(number)), one, kind)
            return
        if value.shape is not Shape.OBJECT:
            self._lost(Unknown.FILTER, path, value)
            return
        for key, one in value.members.items():
            self._clause((*path, key), key, one, kind, len(value.members))

    def _clause(self, path: Path, key: str, value: Value, kind: TypeMap | None, among: int) -> None:
        if key in self.map.connectives:
            self._filter(path, value, kind)
            return
        operator = ""
        known = kind.fields.get(key) if kind is not None else None
        plain = kind is not None and kind.is_plain(key)
        if known is None and not plain and kind is not None and self.map.joined and self.map.joined in key:
            column, _, operator = key.rpartition(self.map.joined)
            known, plain, key = kind.fields.get(column), kind.is_plain(column), column
        if known is not None and known.type:
            self._filter(path, value, self.map.types.get(known.type))
        elif known is not None:
            self._test(path, key, known, value, operator)
        elif plain and kind is not None:
            if key == kind.id and among == 1 and len(path) == 2:
                self._named_records(value, operator)
            self._free(path, value)
        elif self.map.operators.get(key) is Compare.EMPTY:
            self._free(path, value)
        else:
            self._lost(Unknown.FILTER, path, value)

    def _named_records(self, value: Value, operator: str) -> None:
        """Ids in a filter that names records and nothing else."""
        whole = (Compare.EQUAL, Compare.AMONG)
        if value.shape is Shape.OBJECT:
            if all(self.map.operators.get(name) in whole for name in value.members):
                self._records(value)
        elif not operator or self.map.operators.get(operator) in whole:
            self._records(value)

    def _test(self, path: Path, column: str, known: FieldMap, value: Value, operator: str) -> None:
        if value.shape is Shape.OBJECT and not operator:
            for name, operand in value.members.items():
                self._compare((*path, name), column, known, operand, self.map.operators.get(name, Compare.RANGE), value)
            return
        compare = self.map.operators.get(operator, Compare.RANGE) if operator else Compare.EQUAL
        self._compare(path, column, known, value, compare, None)

    def _compare(
        self, path: Path, column: str, known: FieldMap, operand: Value, compare: Compare, holder: Value | None
    ) -> None:
        listed = operand if operand.shape is Shape.LIST else None
        operands = operand.items if listed is not None else [operand]
        if listed is not None and compare is Compare.EQUAL:
            compare = Compare.AMONG
        if compare is Compare.EQUAL and operand.is_null:
            compare = Compare.EMPTY
        texts = [one for one in operands if one.shape in (Shape.TEXT, Shape.NUMBER)]
        if known.aggregate or (compare is not Compare.EMPTY and len(texts) != len(operands)):
            compare = Compare.RANGE
        # What stands where no text belongs is no operand, but goes to the CRM all the same.
        for one in operands:
            if compare is Compare.EMPTY or one not in texts:
                self._free(path, one)
        asked = () if compare is Compare.EMPTY else texts
        self.part.tests.append(Test(column, known.spec, compare, asked, path, holder, listed))

    def _lost(self, where: Unknown, path: Path, value: Value) -> None:
        self.part.unknown.append((where, path[-1]))
        if where is Unknown.INPUT:
            self._given(path, value)
        else:
            self._free(path, value)

    def _by(self, value: Value, kind: TypeMap | None, by: By) -> None:
        if value.is_null:
            return
        if value.shape is Shape.LIST:
            for one in value.items:
                self._by(one, kind, by)
        elif value.shape is Shape.OBJECT:
            for key, one in value.members.items():
                known = kind.fields.get(key) if kind is not None else None
                if known is not None and known.type:
                    self._by(one, self.map.types.get(known.type), by)
                else:
                    self._used(key, kind, by)
                    self._free((key,), one)
        else:
            self._used(value.text, kind, by)
            self._free((by,), value)

    def _used(self, name: str, kind: TypeMap | None, by: By) -> None:
        """A field that is named, with its direction perhaps: `email`, `EMAIL_ASC`, `email__asc`."""
        bare = [name.lstrip("+-")]
        for sign in filter(None, (self.map.joined, "_")):
            stem, _, direction = bare[0].rpartition(sign)
            if stem and direction.lower() in ("asc", "desc"):
                bare.append(stem)
        for one in bare if kind is not None else ():
            assert kind is not None
            spelled = {_folded(field): field for field in kind.fields}
            field_name = one if one in kind.fields else spelled.get(_folded(one))
            if field_name is not None:
                self.part.used.append(Used(by, field_name, kind.fields[field_name].spec))
                return
            if kind.is_plain(one) or any(_folded(one) == _folded(plain) for plain in (kind.id, *kind.plain)):
                return
        self.part.unknown.append((Unknown.ORDER, by))

    def _input(self, path: Path, value: Value, kind: TypeMap | None, *, alone: bool) -> None:
        if value.is_null:
            return
        if value.shape is Shape.LIST:
            for number, one in enumerate(value.items):
                self._input((*path, str(number)), one, kind, alone=False)
            return
        if value.shape is not Shape.OBJECT:
            self._lost(Unknown.INPUT, path, value)
            return
        row = {key: one.text for key, one in value.members.items() if one.shape is Shape.TEXT}
        if len(path) == 1:
            self.part.named |= {**row, **_numbers(value)}
        for key, one in value.members.items():
            self._member((*path, key), key, one, kind, row, alone=alone)

    def _member(
        self, path: Path, key: str, value: Value, kind: TypeMap | None, row: Mapping[str, str], *, alone: bool
    ) -> None:
        known = kind.fields.get(key) if kind is not None else None
        if known is not None and known.type:
            self._input(path, value, self.map.types.get(known.type), alone=alone)
        elif known is not None:
            whole = alone and value.shape in (Shape.TEXT, Shape.NUMBER, Shape.OTHER)
            found = [value] if value.is_null else list(value.leaves())
            for one in found:
                self.part.stored.append(Stored(one, path, row, known.spec, known.text, whole))
        elif key in self.map.nested and value.shape in (Shape.OBJECT, Shape.LIST):
            self._input(path, value, kind, alone=False)
        else:
            plain = kind is not None and kind.is_plain(key)
            if not plain and any(one.shape is Shape.OBJECT for one in (value, *value.items)):
                self.part.unknown.append((Unknown.INPUT, key))
            texts = [one for one in value.leaves() if one.shape is Shape.TEXT]
            self.part.stored += [Stored(one, path, row) for one in texts]


def _numbers(value: Value) -> dict[str, str]:
    return {key: one.text for key, one in value.members.items() if one.shape is Shape.NUMBER}


def _folded(name: str) -> str:
    return name.replace("_", "").casefold()
