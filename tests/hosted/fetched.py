"""FetchXML over records in memory, as Dataverse means it; independent of the gateway's own reader."""

import re
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from tests.hosted.rows import Unsupported
from tests.hosted.service import Record

Linked = Callable[[Record, ElementTree.Element], Record | None]


def fetched(text: str, rows: Sequence[Record], linked: Linked) -> list[Record]:
    """The rows of an answer. linked: the record that a link-entity leads to."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as unread:
        raise Unsupported(str(unread)) from None
    entity = root.find("entity")
    if root.tag != "fetch" or entity is None:
        raise Unsupported("no entity")
    found = []
    for row in rows:
        joined = {
            link.get("alias", link.get("name", "")): (link, linked(row, link)) for link in entity.iter("link-entity")
        }
        if any(one is None for _, one in joined.values()):
            continue
        at = {"": row, **{alias: one or {} for alias, (_, one) in joined.items()}}
        holds = all(_all_hold(each, at, "") for each in entity.findall("filter"))
        holds = holds and all(
            _all_hold(each, at, alias) for alias, (link, _) in joined.items() for each in link.findall("filter")
        )
        if holds:
            found.append((row, at, joined))
    if root.get("aggregate") == "true":
        return _grouped(entity, [row for row, _, _ in found])
    for order in reversed(entity.findall("order")):
        name = order.get("attribute", "")
        found.sort(key=lambda one, name=name: str(one[0].get(name) or ""), reverse=order.get("descending") == "true")
    top = int(root.get("top", "5000"))
    return [_shown(entity, row, at, joined) for row, at, joined in found[:top]]


def _shown(entity: ElementTree.Element, row: Record, at: Record, joined: Record) -> Record:
    names = [one.get("name", "") for one in entity.findall("attribute")] or list(row)
    out: Record = {
        one.get("alias") or one.get("name", ""): row.get(one.get("name", "")) for one in entity.findall("attribute")
    }
    out = out or {name: row.get(name) for name in names}
    out.setdefault("contactid", row.get("contactid"))
    for alias, (link, _) in joined.items():
        for one in link.findall("attribute"):
            out[f"{alias}.{one.get('name')}"] = at[alias].get(one.get("name", ""))
    return out


def _grouped(entity: ElementTree.Element, rows: Sequence[Record]) -> list[Record]:
    group = next(one for one in entity.findall("attribute") if one.get("groupby") == "true")
    count = next(one for one in entity.findall("attribute") if one.get("aggregate") == "count")
    groups: dict[object, int] = {}
    for row in rows:
        key = row.get(group.get("name", ""))
        groups[key] = groups.get(key, 0) + 1
    return [{group.get("alias", ""): key, count.get("alias", ""): number} for key, number in groups.items()]


def _all_hold(part: ElementTree.Element, at: Record, alias: str) -> bool:
    holds = [
        _all_hold(one, at, alias) if one.tag == "filter" else _holds(one, at[one.get("entityname", alias)])
        for one in part
    ]
    return any(holds) if part.get("type") == "or" else all(holds)


def _holds(condition: ElementTree.Element, row: Record) -> bool:
    operator, stored = condition.get("operator", ""), row.get(condition.get("attribute", ""))
    value = str("" if stored is None else stored).lower()
    given = [one.text or "" for one in condition.findall("value")] or [condition.get("value", "")]
    wanted = [one.lower() for one in given]
    match operator:
        case "eq" | "in":
            return value in wanted
        case "ne" | "not-in":
            return value not in wanted
        case "null":
            return stored is None
        case "not-null":
            return stored is not None
        case "like" | "not-like":
            pattern = "".join({"%": ".*", "_": "."}.get(sign, re.escape(sign)) for sign in wanted[0])
            return (re.fullmatch(pattern, value) is not None) == (operator == "like")
        case "begins-with" | "not-begin-with":
            return value.startswith(wanted[0]) == (operator == "begins-with")
        case "ends-with" | "not-end-with":
            return value.endswith(wanted[0]) == (operator == "ends-with")
    raise Unsupported(operator)
