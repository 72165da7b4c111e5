"""Where a learnt profile says that requests order or compare: without it, order would tell what stands in clear.

What was not seen is assumed: every usual name of a sort parameter, columns by name or by number, lookups in the
address. A rule too many costs somebody a sorted list while values stand in clear; one too few tells them.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.learn.proposal import Field
from gateway.learn.vocabulary import vocabulary

NUMBERED = 40  # columns of a list that may be asked for by their number
_DOMAIN = ("params", "0")  # where calls have conditions; order stands two further
_EVERYWHERE = ["*"]


def comparisons_of(
    fields: Iterable[Field], cells: Mapping[str, str], searches: Mapping[str, list[dict[str, Any]]], *, calls: bool
) -> list[dict[str, Any]]:
    """`comparisons` of a profile. cells: names that pages give columns → field; calls: whether it has a JSON-RPC."""
    columns: dict[str, list[str]] = {}
    for one in fields:
        for name in (one.source, one.name):
            if name and "*" not in name and one.id not in columns.setdefault(name, []):
                columns[name].append(one.id)
    for name, field in cells.items():
        if field not in columns.setdefault(name, []):
            columns[name].append(field)
    if not columns:
        return []
    everything = sorted({one for each in columns.values() for one in each})
    named: dict[str, Any] = {name: one[0] if len(one) == 1 else one for name, one in sorted(columns.items())}
    found = _orders(named, everything)
    found.append({"pages": _EVERYWHERE, "by": "named", "where": "query", "select": "*", "columns": named})
    if calls:
        found += _of_calls(named)
    return found + _boxes(searches, everything)


def _orders(named: Mapping[str, Any], everything: list[str]) -> list[dict[str, Any]]:
    numbered = {str(number): everything for number in range(NUMBERED)}
    columns = {**named, **numbered}  # one object: the file names it once
    found = []
    for parameter in sorted(vocabulary().orders):
        rule = {"pages": _EVERYWHERE, "by": "order", "where": "query", "select": parameter}
        found.append({**rule, "columns": columns})
        found.append({**rule, "split": ".", "columns": numbered})
    return found


def _of_calls(named: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"pages": _EVERYWHERE, "by": "clause", "where": "json", "select": list(_DOMAIN), "columns": named},
        {"pages": _EVERYWHERE, "by": "order", "where": "json", "select": ["params", "3", "*", "0"], "columns": named},
    ]


def _boxes(searches: Mapping[str, list[dict[str, Any]]], everything: list[str]) -> list[dict[str, Any]]:
    """Boxes that look into everything; parameters with the name of a column are judged by that."""
    boxes = {
        one["select"]
        for each in searches.values()
        for one in each
        if one.get("where") == "query" and isinstance(one["select"], str)
    }
    known = {name for name in vocabulary().searches if vocabulary().meaning(name) is None}
    return [
        {"pages": _EVERYWHERE, "by": "text", "where": "query", "select": box, "fields": everything}
        for box in sorted(boxes)
        if box in known or "search" in box.lower()
    ]
