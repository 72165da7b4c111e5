"""Where answers show declared fields: cells, keys, columns and links, found by copies of the same values and by names.

A profile needs these places as long as the CRM may hold values in clear: a clear name has no shape, only a place.
"""

import re
from collections import Counter
from typing import Any

from gateway.learn.evidence import CELL, COLUMN, FORM, JSON_IN, JSON_OUT, LINK, RPC_IN, SHOWN, Evidence, Place
from gateway.learn.naming import entity_of, path_of, verb_of
from gateway.learn.proposal import Field
from gateway.learn.route import names_record
from gateway.learn.vocabulary import vocabulary

_WRITTEN = (FORM, SHOWN, JSON_IN, RPC_IN)
_HALF = 0.5
REGION = "CN"  # numbers without a country count as Chinese, as recognisers have it
_KEY = re.compile(r"[^/]+(?:/[^/]+)?")


def places_of(evidence: Evidence, fields: list[Field], sources: dict[Place, Field]) -> dict[str, Any]:
    """The `places` of a profile. sources: places of writes → the field that stands there."""
    hidden = {one.id for one in fields}
    found: dict[str, Any] = {}
    cells = _cells(evidence, sources, hidden)
    if cells:
        found["cells"] = [
            {"entity": entity, "fields": dict(sorted(selectors.items()))} for entity, selectors in sorted(cells.items())
        ]
    marked = _marked(evidence, sources)
    if marked:
        found["cells"] = [*found.get("cells", []), {"fields": marked}]
    keys = _keys(evidence, fields)
    if keys:
        found["keys"] = [
            {"entity": entity, "fields": dict(sorted(named.items()))} for entity, named in sorted(keys.items())
        ]
    return found


def _marked(evidence: Evidence, sources: dict[Place, Field]) -> dict[str, str]:
    """Elements that pages mark with the name of a form's field: who may not edit it is shown its text there.

    Labels, and what is around them, say nothing about anybody.
    """
    found: dict[str, str] = {}
    for (where, route, name), field in sorted(sources.items()):
        control = evidence.forms.get(route, {}).get(name) if where in (FORM, SHOWN) else None
        if control is not None and control.marked and field.kind in ("name", "address"):
            found.setdefault(f".{control.marked} :not(label):not(:has(label)):not(:has(input))", field.id)
    return found


def copies_of(evidence: Evidence, sources: dict[Place, Field], where: str) -> dict[Place, Counter[str]]:
    """Places of one sort → fields whose values stood there as well → how many."""
    found: dict[Place, Counter[str]] = {}
    for (one, other), count in evidence.copies.items():
        for place, twin in ((one, other), (other, one)):
            if place[0] == where and twin in sources:
                found.setdefault(place, Counter())[sources[twin].id] += count
    return found


def _cells(evidence: Evidence, sources: dict[Place, Field], hidden: set[str]) -> dict[str, dict[str, str]]:
    """Entity of the page → CSS selector → field."""
    twins = copies_of(evidence, sources, CELL)
    by_page: dict[tuple[str, str], Counter[str]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    distinct: Counter[tuple[str, str]] = Counter()
    for place, stat in evidence.places.items():
        if place[0] != CELL:
            continue
        page = (entity_of(place[1].partition(" ")[2]), place[2])
        seen[page] += max(1, stat.distinct)
        distinct[page] += stat.distinct
        by_page.setdefault(page, Counter()).update(twins.get(place, Counter()))
    found: dict[str, dict[str, str]] = {}
    for (entity, selector), counted in by_page.items():
        own = [(name, count) for name, count in counted.most_common() if name.startswith(f"{entity}.")]
        best = (own or counted.most_common(1))[:1]
        if best and best[0][1] >= _HALF * seen[(entity, selector)] and best[0][0] in hidden:
            found.setdefault(entity, {})[selector] = best[0][0]
            continue
        # A label stands in a named element as well, but it says the same on every page.
        named = _named(selector, entity, hidden) if distinct[(entity, selector)] > 1 else ""
        if named:
            found.setdefault(entity, {})[selector] = named
    return found


def _named(selector: str, entity: str, hidden: set[str]) -> str:
    """The field of the page's entity whose name a selector holds."""
    for name in re.findall(r"(?:=|\.)([\w-]+)", selector):
        for one in hidden:
            owner, _, short = one.partition(".")
            plain = re.sub(r"[^a-z0-9]+", "_", name.lower())
            if owner == entity and (plain == short or plain.endswith(f"_{short}")):
                return one
    return ""


def _keys(evidence: Evidence, fields: list[Field]) -> dict[str, dict[str, str]]:
    """Entity → key of a JSON answer → field, where the key has the name of a declared field."""
    by_name: dict[str, list[Field]] = {}
    for one in fields:
        by_name.setdefault(one.source, []).append(one)
    found: dict[str, dict[str, str]] = {}
    for where, route, name in evidence.places:
        if where != JSON_OUT:
            continue
        entity, key = entity_of(route.partition(" ")[2]), name.rpartition("/")[2]
        own = [one for one in by_name.get(key, ()) if one.entity == entity] or by_name.get(key, [])
        if own and key != "*":
            found.setdefault(entity, {})[key] = own[0].id
    return found


def record_pages(evidence: Evidence, entities: set[str], taken: set[str]) -> dict[str, str]:
    """Templates of pages about one record → its entity. taken: templates that were answered."""
    found = {}
    for where, template, _ in evidence.places:
        if where == LINK and is_record_page(template) and f"GET {template}" in taken:
            entity, path = entity_of(template), path_of(template, names_record=True)
            if entity in entities and path is not None:
                found[path] = entity
    return dict(sorted(found.items()))


def derived_keys(evidence: Evidence, fields: list[Field]) -> list[dict[str, str]]:
    """Keys of answers under which a CRM repeats a declared phone number in E.164, as their names tell."""
    phones = {one.source for one in fields if one.kind == "phone"}
    keys = {name.rpartition("/")[2] for where, _, name in evidence.places if where == JSON_OUT}
    return [
        {"key": key, "as": "e164", "region": REGION}
        for key in sorted(keys)
        for phone in sorted(phones)
        if re.fullmatch(rf"{re.escape(phone)}_?[eE]_?164", key)
    ]


def is_record_page(template: str) -> bool:
    """Whether a page is about one record: its address ends in an id, or in one and a word for looking or editing."""
    before, _, last = template.rpartition("/")
    if last.startswith("{"):
        return names_record(f"/{last}") and verb_of(template) is None
    return verb_of(f"/{last}") in ("read", "update") and names_record("/" + before.rpartition("/")[2])


def named_cells(places: dict[str, Any]) -> dict[str, str]:
    """The names that pages give columns of a table → field, out of `places`."""
    found = {}
    for each in places.get("cells", ()):
        for selector, field in each["fields"].items():
            for name in re.findall(r"=([\w-]+)\]", selector):
                found[name] = field
    return found


def column_labels(evidence: Evidence, fields: list[Field], sources: dict[Place, Field]) -> None:
    """Labels of exported columns join the field whose values stood under them, or whose kind their words mean."""
    twins = copies_of(evidence, sources, COLUMN)
    by_id = {one.id: one for one in fields}
    for place, stat in evidence.places.items():
        if place[0] != COLUMN:
            continue
        label, best = place[2], twins.get(place, Counter()).most_common(1)
        if best and best[0][1] >= _HALF * max(1, stat.distinct) and best[0][0] in by_id:
            one: Field | None = by_id[best[0][0]]
        else:
            meaning = vocabulary().meaning(label)
            kind = meaning.kind if meaning is not None else ""
            one = next((field for field in fields if field.kind == kind), None)
        if one is not None and label not in one.labels:
            one.labels.append(label)
