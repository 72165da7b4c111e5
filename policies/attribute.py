"""Attributes of records that policy rows may ask for (`where=contact.region:north`), and where answers tell them.

Nothing personal: a region, a stage, an amount. An answer tells them at exact places that the profile names, and only of
the records in that answer; what is told in two ways, or not at all, is not known. Pure functions over the body.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import orjson
from selectolax.lexbor import LexborHTMLParser, LexborNode

from policies.operation import Operation
from policies.record_id import RecordIds

Told = dict[tuple[str, str], dict[str, tuple[str, ...]]]
"""(entity, record) → attribute (`contact.region`) → its value, as an answer tells it."""
_Found = tuple[str, str | None, str, str]  # entity, record, attribute, value
_VALUE_LIMIT = 200
_POSTED = "@posted"  # behind an attribute's name: what a form posts that keeps it; no row of a policy can ask for that
# Thousands are grouped by comma, point, apostrophe or a space of some width, all of them alike.
_GROUPED = re.compile(r"-?[0-9]{1,3}([,.' \u2019\u00a0\u202f])[0-9]{3}(?:\1[0-9]{3})*\Z")


@dataclass(frozen=True, slots=True)
class Element:
    """A part of a page. css: inside the row, or on the page; attribute: of it, "" for its text.

    posted: its attribute that a form posts back, where that is another text than the one people read ("" is none).
    """

    css: str
    attribute: str = ""
    posted: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, by the label over it."""

    label: str


@dataclass(frozen=True, slots=True)
class AttributePlace:
    """One place of one attribute. pages: operation ids (fnmatch).

    rows: path to the records in JSON (`*`: every item of a list), or a selector of rows in a page; record: where in a
    row the record's id stands, None: the record that the operation is about; value: where in a row the value stands.
    Both are paths in JSON, elements of a page, or columns of a table. whole: the value is a whole number, so what
    stands between its groups of three digits is no decimal sign.
    """

    name: str
    entity: str
    pages: tuple[str, ...]
    rows: tuple[str, ...] | str
    record: tuple[str, ...] | Element | Column | None
    value: tuple[str, ...] | Element | Column
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Attributes:
    """All places, and the names by which requests write attributes: (entity of the request, name) → attributes."""

    places: tuple[AttributePlace, ...] = ()
    written: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()

    def of(self, operation: Operation) -> list[AttributePlace]:
        """The places in answers of an operation."""
        return [one for one in self.places if any(fnmatchcase(operation.id, page) for page in one.pages)]


def compile_attributes(source: Mapping[str, Any]) -> Attributes:
    """The attributes of a validated profile source."""
    places: list[AttributePlace] = []
    written: dict[tuple[str, str], frozenset[str]] = {}
    names: set[str] = set()
    for entity, attributes in source.items():
        for attribute, entry in attributes.items():
            name = f"{entity}.{attribute}"
            names.add(name)
            by_entity = {entity: entry.get("written", ()), **entry.get("written_by", {})}
            for key in ((writer, one) for writer, keys in by_entity.items() for one in keys):
                written[key] = written.get(key, frozenset()) | {name}
            places += [_place(name, entity, one) for one in entry["told"]]
    return Attributes(tuple(places), written, frozenset(names))


def _place(name: str, entity: str, one: Mapping[str, Any]) -> AttributePlace:
    pages, whole = tuple(one["pages"]), bool(one.get("whole"))
    if "column" in one:
        columns = Column(_label(one["id_column"])), Column(_label(one["column"]))
        return AttributePlace(name, entity, pages, (), *columns, whole)
    if "css" in one:
        value = Element(one["css"], one.get("attribute", ""), one.get("posted", ""))
        record = Element(one["record"]["css"], one["record"].get("attribute", "")) if "record" in one else None
        return AttributePlace(name, entity, pages, one.get("rows", ""), record, value, whole)
    path = tuple(one["record"]) if "record" in one else None
    return AttributePlace(name, entity, pages, tuple(one.get("json", ())), path, tuple(one["value"]), whole)


def posted(facts: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    """What a form posts that leaves an attribute of this record as it stands; empty where nobody told."""
    return facts.get(name + _POSTED) or facts.get(name, ())


def in_json(places: Iterable[AttributePlace], operation: Operation, body: bytes, ids: RecordIds) -> Told:
    """What a JSON answer tells; nothing where it is none."""
    wanted = [one for one in places if isinstance(one.value, tuple)]
    if not wanted:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    found: list[_Found] = []
    for place in wanted:
        assert not isinstance(place.rows, str)
        assert isinstance(place.value, tuple)
        assert place.record is None or isinstance(place.record, tuple)
        for row in _rows(document, place.rows):
            value = _text(_at(row, place.value))
            record = operation.record if place.record is None else _text(_at(row, place.record))
            if value is not None:
                found.append(_found(place, record, value))
    return _agreed(found, ids)


def in_page(places: Iterable[AttributePlace], operation: Operation, page: bytes, ids: RecordIds) -> Told:
    """What a page (UTF-8) tells."""
    wanted = [one for one in places if isinstance(one.value, Element)]
    if not wanted:
        return {}
    tree = LexborHTMLParser(page)
    found: list[_Found] = []
    for place in wanted:
        assert isinstance(place.rows, str)
        assert isinstance(place.value, Element)
        rows = tree.css(place.rows) if place.rows else [tree.root] if tree.root is not None else []
        for row in rows:
            if isinstance(place.record, Element):
                records = set(_elements(row, place.record))
                record = records.pop() if len(records) == 1 else None
            else:
                record = operation.record
            found += [_found(place, record, value) for value in _elements(row, place.value) if value]
            if place.value.posted:
                form = _elements(row, Element(place.value.css, place.value.posted))
                found += [(place.entity, record, place.name + _POSTED, value) for value in form if value]
    return _agreed(found, ids)


def in_table(places: Iterable[AttributePlace], cells: Iterable[tuple[str, str, str]], ids: RecordIds) -> Told:
    """What a table tells whose rows name their record. cells: label, row and text of each."""
    rows: dict[str, dict[str, list[str]]] = {}
    for label, row, text in cells:
        rows.setdefault(row, {}).setdefault(_label(label), []).append(text)
    found: list[_Found] = []
    for place in places:
        if isinstance(place.value, Column) and isinstance(place.record, Column):
            for named in rows.values():
                records, values = named.get(place.record.label, []), named.get(place.value.label, [])
                if len(records) == 1:  # two columns of one name: nobody knows which one tells it
                    found += [_found(place, records[0], value.strip()) for value in values if value.strip()]
    return _agreed(found, ids)


def _label(text: str) -> str:
    return " ".join(text.replace("\ufeff", "").casefold().split())


def _found(place: AttributePlace, record: str | None, value: str) -> _Found:
    if place.whole and (sign := _GROUPED.match(value)) is not None:
        value = value.replace(sign[1], "")
    return place.entity, record, place.name, value


def _agreed(found: Sequence[_Found], ids: RecordIds) -> Told:
    """What every place says alike; a record with an id in another spelling is none that anybody knows."""
    values: dict[tuple[str, str], dict[str, set[str]]] = {}
    for entity, record, name, value in found:
        number = ids.canonical(record.strip()) if record is not None else None
        if number is not None:
            values.setdefault((entity, number), {}).setdefault(name, set()).add(value)
    sure = {key: {name: tuple(some) for name, some in named.items() if _is_one(some)} for key, named in values.items()}
    return {key: named for key, named in sure.items() if named}


def _is_one(some: set[str]) -> bool:
    return len(some) == 1 and len(next(iter(some))) <= _VALUE_LIMIT


def _rows(value: Any, path: Sequence[str]) -> Iterator[Any]:
    if not path:
        yield value
    elif path[0] == "*":
        for one in value if isinstance(value, list) else ():
            yield from _rows(one, path[1:])
    elif isinstance(value, dict) and path[0] in value:
        yield from _rows(value[path[0]], path[1:])
    elif isinstance(value, list) and path[0].isdecimal() and int(path[0]) < len(value):
        yield from _rows(value[int(path[0])], path[1:])


def _at(value: Any, path: Sequence[str]) -> Any:
    found = list(_rows(value, path))
    return found[0] if len(found) == 1 else None


def _text(value: Any) -> str | None:
    """A text or number as text; a number that is no plain one stays what nobody can compare."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return str(value).strip() or None


def _elements(row: LexborNode, element: Element) -> list[str]:
    nodes = row.css(element.css)
    if element.attribute:
        return [(one.attributes.get(element.attribute) or "").strip() for one in nodes]
    return [" ".join(one.text().split()) for one in nodes]
