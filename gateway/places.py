"""Where an answer shows fields that the profile declares by place: in HTML by CSS selectors, in JSON by paths.

The page is never re-serialised: each text that could be such a value is found first and given a mark of its own, the
marked page is parsed, and the marks that stand alone where a rule points are the places. Pure: no store, no rights.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from gateway.body.fault import BodyFault
from gateway.body.json import JsonDocument, open_json
from gateway.body.leaf import Leaf
from policies.operation import FieldSpec, Operation, ShownRule, StorageForm
from policies.selector import matches

_CELL = r"~G1\.[A-Za-z0-9_-]{32,}"
_MOST_SPOTS = 20_000  # on one page; what follows stays as it is


class Spot(NamedTuple):
    """One value in a text. start, end: characters; records: whose it may be, the first that has a value counts, none
    where the page does not tell; posted: whether it stands where a form or a program may post it back."""

    start: int
    end: int
    text: str
    spec: FieldSpec
    records: tuple[str, ...]
    posted: bool


@lru_cache(maxsize=1024)
def rules_of(rules: tuple[ShownRule, ...], operation_id: str) -> tuple[ShownRule, ...]:
    """The rules for answers of one operation."""
    return tuple(rule for rule in rules if any(fnmatchcase(operation_id, pattern) for pattern in rule.pages))


def in_html(page: str, rules: Sequence[ShownRule], operation: Operation) -> list[Spot]:
    """The places of an HTML document or fragment in the answer to an operation, in order."""
    pattern = _pattern(tuple(dict.fromkeys(rule.field for rule in rules if rule.css)))
    found = [] if pattern is None else [match.span() for match in pattern.finditer(page)][:_MOST_SPOTS]
    if not found:
        return []
    mark = _free_mark(page)
    tree = LexborHTMLParser(_marked(page, found, mark).encode("utf-8", "replace"))
    whole = re.compile(rf"{mark}([0-9]+)x")
    claimed: dict[int, Spot | None] = {}
    for rule in rules:
        for node, whose in _nodes(tree, rule, operation) if rule.css else ():
            text = node.attributes.get(rule.attribute) if rule.attribute else node.text()
            one = whole.fullmatch((text or "").strip())
            if one is None:
                continue
            number = int(one[1])
            start, end = found[number]
            posted = bool(rule.attribute) or node.tag == "textarea"
            spot = Spot(start, end, page[start:end], rule.field, whose, posted)
            # Two rules that disagree about whose a value is say nothing.
            claimed[number] = spot if claimed.get(number, spot) == spot else None
    return [spot for _, spot in sorted(claimed.items()) if spot is not None]


def in_leaves(document: JsonDocument, rules: Sequence[ShownRule], operation: Operation) -> Iterator[tuple[Leaf, Spot]]:
    """The leaves of a JSON document that hold a declared value whole."""
    keyed = any(rule.path and rule.key for rule in rules)
    texts = {leaf.path: leaf.text for leaf in document.leaves} if keyed else {}  # ids are numbers as often as texts
    for leaf in document.leaves:
        for rule in rules:
            if not rule.path or not matches(rule.path, leaf.path):
                continue
            whose = _whose(rule, operation)
            if rule.key:
                whose = _one(rule.record_ids.canonical(texts.get((*leaf.path[:-1], rule.key), "").strip()))
            yield leaf, Spot(0, len(leaf.text), leaf.text, rule.field, whose, True)
            break


def opened(body: bytes) -> JsonDocument | None:
    """A JSON answer with its leaves; None for what is not one document."""
    try:
        return open_json(body)
    except BodyFault:
        return None


def _whose(rule: ShownRule, operation: Operation) -> tuple[str, ...]:
    """The records of an operation that a rule speaks of."""
    if rule.which:
        several = operation.records
        return tuple(several[number - 1] for number in rule.which if number <= len(several))
    return _one(operation.record)


def _one(record: str | None) -> tuple[str, ...]:
    return (record,) if record is not None else ()


def _nodes(
    tree: LexborHTMLParser, rule: ShownRule, operation: Operation
) -> Iterator[tuple[LexborNode, tuple[str, ...]]]:
    if rule.row is None:
        for node in tree.css(rule.css):
            yield node, _whose(rule, operation)
        return
    rows, at, attribute = rule.row
    for row in tree.css(rows):
        named = row.css_first(at)
        told = "" if named is None else named.attributes.get(attribute) or ""
        whose = rule.record_ids.canonical(told.strip())
        for node in row.css(rule.css):
            yield node, _one(whose)


@lru_cache(maxsize=256)
def _pattern(fields: tuple[FieldSpec, ...]) -> re.Pattern[str] | None:
    parts: list[str] = []
    for spec in fields:
        if spec.form is StorageForm.BESIDE:
            parts += [one.source for one in spec.dates]
        elif spec.form is StorageForm.FF1:
            parts += [f"[0-9]{{{size - 1}}}[0-9Xx]" for size in spec.digits]
        else:
            parts.append(_CELL)
    if not parts:
        return None
    return re.compile("(?<![0-9A-Za-z])(?:" + "|".join(dict.fromkeys(parts)) + ")(?![0-9A-Za-z])")


def _free_mark(page: str) -> str:
    """Letters that the page does not hold."""
    mark = "zqmark"
    while mark in page:
        mark += "q"
    return mark


def _marked(page: str, found: Iterable[tuple[int, int]], mark: str) -> str:
    out: list[str] = []
    at = 0
    for number, (start, end) in enumerate(found):
        out += [page[at:start], f"{mark}{number}x"]
        at = end
    return "".join(out) + page[at:]
