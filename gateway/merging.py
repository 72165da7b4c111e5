"""Puts the answers to one search for several values together, as the profile describes them: pure, no I/O.

Every answer is read whole before a row of it counts, so totals are those of the union and any page can be cut out of
it. Whatever does not fit (a total that does not agree with the rows, one record told in two ways, an order nobody
described) ends in a refusal: a part of the answer is never shown as all of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from gateway.body.form import open_query
from gateway.refusal import SEARCH_LEG_FAILED, SEARCH_NOT_MERGED, SEARCH_TOO_WIDE, Refusal
from policies.merge import AskedOrder, MergedList, MergeRule, Only, Paging, Path, SortKey, Told

MOST_ROWS = 5_000
"""Rows that all answers to one search may have together."""
_DIGITS = 9  # of an offset or a size: more is no page of a CRM


@dataclass(frozen=True, slots=True)
class Window:
    """The page that was asked for: rows to leave out, rows to show."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What one request asks for. keys: the order; kept: the value that `only` keeps, and whether it is used at all."""

    rule: MergeRule
    window: Window
    keys: tuple[SortKey, ...]
    only: Only | None = None
    kept: Any = None


def read(body: bytes) -> Any:
    """A JSON document whose numbers are written again as they came; raises Refusal SEARCH_LEG_FAILED."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key twice")
        return found

    def whole(text: str) -> Any:
        return int(text) if len(text) < 18 else orjson.Fragment(text)

    def constant(text: str) -> Any:
        raise ValueError(text)

    try:
        return json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=members,
            parse_float=orjson.Fragment,
            parse_int=whole,
            parse_constant=constant,
        )
    except (ValueError, RecursionError):
        raise Refusal(SEARCH_LEG_FAILED, detail="json") from None


def write(document: Any) -> bytes:
    """The document as JSON; raises Refusal SEARCH_LEG_FAILED."""
    try:
        return orjson.dumps(document)
    except TypeError:
        raise Refusal(SEARCH_LEG_FAILED, detail="json") from None


def plan(rule: MergeRule, query: str, body: bytes) -> Plan:
    """What a request asks for, before the CRM is asked; query: raw; body: of a POST, else empty.

    Raises Refusal SEARCH_NOT_MERGED where the profile does not say how such answers are merged.
    """
    given = _parameters(query)
    for name in rule.refused:
        if name in given:
            raise Refusal(SEARCH_NOT_MERGED, detail=name)
    document = _document(body) if rule.paging.body else {}
    window = _window(rule.paging, document if rule.paging.body else given)
    keys = rule.sort
    if rule.asked is not None:
        keys = (*_asked(rule.asked, given, document), *rule.sort)
    chosen = given.get(rule.only.parameter) if rule.only is not None else None
    if rule.only is None or chosen is None or chosen not in rule.only.values:
        return Plan(rule, window, keys)
    return Plan(rule, window, keys, rule.only, rule.only.values[chosen])


def _document(body: bytes) -> dict[str, Any]:
    found = read(body) if body else {}
    if not isinstance(found, dict):
        raise Refusal(SEARCH_NOT_MERGED, detail="body")
    return found


def _parameters(query: str) -> dict[str, str]:
    """Parameters of a query by name; a name that stands twice makes none of its values the one that counts."""
    given: dict[str, str] = {}
    for leaf in open_query(query).leaves:
        if leaf.path[0] in given:
            raise Refusal(SEARCH_NOT_MERGED, detail="parameter twice")
        given[leaf.path[0]] = leaf.text
    return given


def _window(paging: Paging, given: Mapping[str, Any]) -> Window:
    size = _number(given.get(paging.size), paging.default)
    if size < 1:
        raise Refusal(SEARCH_NOT_MERGED, detail=paging.size)
    size = min(size, paging.most) if paging.most else size
    if paging.offset:
        return Window(_number(given.get(paging.offset), 0), size)
    page = _number(given.get(paging.page), paging.first) - paging.first
    if page < 0:
        raise Refusal(SEARCH_NOT_MERGED, detail=paging.page)
    return Window(page * size, size)


def _number(given: Any, default: int) -> int:
    if given is None or given == "":
        return default
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= _DIGITS:
        return int(given)
    raise Refusal(SEARCH_NOT_MERGED, detail="page")


def _asked(asked: AskedOrder, given: Mapping[str, str], document: Mapping[str, Any]) -> tuple[SortKey, ...]:
    """The order that the request asks for; nothing where it leaves that to the CRM."""
    source: Any = document if len(asked.place) > 1 else given
    if len(asked.place) > 1:
        orders = document.get(asked.place[0])
        if orders is None or orders == []:
            return ()
        if not isinstance(orders, list) or len(orders) != 1:
            raise Refusal(SEARCH_NOT_MERGED, detail="order")
    name = _at(source, asked.place)
    if isinstance(name, dict):
        raise Refusal(SEARCH_NOT_MERGED, detail="order")
    if name in (None, ""):
        if len(asked.place) > 1 or (asked.direction and _at(source, asked.direction) not in (None, "")):
            raise Refusal(SEARCH_NOT_MERGED, detail="order")
        return ()
    descending = False
    if not asked.direction:
        descending, name = str(name).startswith("-"), str(name).removeprefix("-")
    else:
        descending = (_at(source, asked.direction) or "") in asked.descending
    key = asked.columns.get(str(name))
    if key is None:
        raise Refusal(SEARCH_NOT_MERGED, detail="order")
    return (SortKey(key.path, descending, key.kind),)


def page_of(plan: Plan, target: str, body: bytes, offset: int) -> tuple[str, bytes]:
    """The request (target and body) for the rows of one answer from `offset` on, as many as are asked for at once."""
    paging = plan.rule.paging
    place, number = (paging.offset, offset) if paging.offset else (paging.page, offset // paging.ask + paging.first)
    values: dict[str, Any] = {paging.size: paging.ask, place: number}
    if paging.offset and not offset:
        del values[place]  # the beginning is where a CRM begins
    if paging.body:
        document = {name: one for name, one in _document(body).items() if name not in (paging.size, place)}
        if paging.text and place in values:
            values[place] = str(number)
        return target, write({**document, **values})
    dropped = {paging.size, place} | ({plan.only.parameter} if plan.only is not None else set())
    return _with(target, dropped, values), body


def _with(target: str, dropped: set[str], values: Mapping[str, Any]) -> str:
    """A target without some parameters of its query, and with others."""
    path, _, query = target.partition("?")
    document = open_query(query)
    pairs = [pair for pair in query.split("&") if pair]
    kept = [pair for pair, leaf in zip(pairs, document.leaves, strict=True) if leaf.path[0] not in dropped]
    query = "&".join([*kept, *(f"{name}={value}" for name, value in values.items())])
    return f"{path}?{query}" if query else path


@dataclass(slots=True)
class Leg:
    """The answers to one value, page by page. rows: for each list of the rule, by id."""

    plan: Plan
    document: Any = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    _totals: dict[int, int] = field(default_factory=dict)

    def take(self, document: Any) -> int | None:
        """Take one page; the offset of the next one, None when everything is here. Raises Refusal."""
        lists = self.plan.rule.lists
        if self.document is None:
            self.document, self.rows = document, [{} for _ in lists]
        open_sizes = set()
        for number, one in enumerate(lists):
            received = self._list(number, one, document)
            if not self._complete(number, one, document):
                open_sizes.add(received)
        if sum(map(len, self.rows)) > MOST_ROWS or sum(self._totals.values()) > MOST_ROWS:
            raise Refusal(SEARCH_TOO_WIDE)
        if not open_sizes:
            return None
        paging, received = self.plan.rule.paging, max(open_sizes)
        if len(open_sizes) > 1 or received < 1 or (not paging.offset and received != paging.ask):
            raise Refusal(SEARCH_LEG_FAILED, detail="rows")
        return max(map(len, self.rows)) if paging.offset else max(map(len, self.rows)) // paging.ask * paging.ask

    def _list(self, number: int, one: MergedList, document: Any) -> int:
        """Take the rows of one list; how many there were on this page."""
        rows = _at(document, one.rows)
        if not isinstance(rows, list) or any(write(_at(document, place)) != write(rows) for place in one.copies):
            raise Refusal(SEARCH_LEG_FAILED, detail="rows")
        known = self.rows[number]
        for row in rows:
            name = _at(row, one.id)
            if not isinstance(row, dict) or isinstance(name, bool) or not isinstance(name, str | int):
                raise Refusal(SEARCH_LEG_FAILED, detail="id")
            if str(name) in known:
                raise Refusal(SEARCH_LEG_FAILED, detail="id twice")
            known[str(name)] = row
        return len(rows)

    def _complete(self, number: int, one: MergedList, document: Any) -> bool:
        """Whether every row of a list is here, by what the answer says."""
        held = len(self.rows[number])
        if one.totals:
            totals = {_count(_at(document, place)) for place in one.totals}
            if len(totals) != 1 or self._totals.setdefault(number, max(totals)) not in totals:
                raise Refusal(SEARCH_LEG_FAILED, detail="total")
            total = self._totals[number]
            if held > total:
                raise Refusal(SEARCH_LEG_FAILED, detail="total")
            return held == total
        more = _at(document, one.more)
        if not isinstance(more, bool):
            raise Refusal(SEARCH_LEG_FAILED, detail="more")
        return not more


def merge(plan: Plan, legs: Sequence[Leg], base: str = "", query: str = "") -> tuple[Any, dict[Path, str | None]]:
    """The one answer, and its links by their place; an answer without rows may be None (`empty` of the rule).

    base: public address without query; query: as the person sent it. Raises Refusal.
    """
    rule = plan.rule
    answer: Any = next((leg.document for leg in legs if leg.document is not None), None)
    if answer is None:
        return None, {}
    shown = 0
    links: dict[Path, str | None] = {}
    for number, one in enumerate(rule.lists):
        union = _union(plan, one, [leg.rows[number] for leg in legs if leg.document is not None])
        for tally in one.tallies:
            put(answer, tally.at, sum(_at(row, tally.key) == tally.value for row in union.values()))
        if plan.only is not None:
            union = {name: row for name, row in union.items() if _at(row, plan.only.key) == plan.kept}
        names = _sorted(plan.keys, union)
        page = names[plan.window.offset : plan.window.offset + plan.window.size]
        rows = [union[name] for name in page]
        shown += len(rows)
        for place in (one.rows, *one.copies):
            put(answer, place, rows)
        for place in one.totals:
            put(answer, place, len(names))
        if one.more:
            put(answer, one.more, plan.window.offset + len(page) < len(names))
        for told in one.told:
            _tell(answer, told, plan.window, names, page)
        if number == 0:
            links = {told.at: _link(plan, told, len(names), base, query) for told in rule.links}
    for place in rule.untold:
        put(answer, place, None)
    return (None if rule.empty and not shown else answer), links


def _union(plan: Plan, one: MergedList, legs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Every row once; a record that two answers tell in two ways has changed in between."""
    deciding = [key.path for key in plan.keys] + [tally.key for tally in one.tallies]
    deciding += [plan.rule.only.key] if plan.rule.only is not None else []
    union: dict[str, Any] = {}
    for rows in legs:
        for name, row in rows.items():
            known = union.setdefault(name, row)
            if known is not row and any(write(_at(known, path)) != write(_at(row, path)) for path in deciding):
                raise Refusal(SEARCH_LEG_FAILED, detail="row")
    if len(union) > MOST_ROWS:
        raise Refusal(SEARCH_TOO_WIDE)
    return union


def _sorted(keys: Sequence[SortKey], rows: Mapping[str, Any]) -> list[str]:
    """Ids in the order asked for; rows that the order does not tell apart go by their ids."""
    names = sorted(rows, reverse=bool(keys) and keys[-1].descending)
    for key in reversed(keys):
        values = {name: _comparable(key, _at(row, key.path)) for name, row in rows.items()}
        names.sort(key=values.__getitem__, reverse=key.descending)
    return names


def _comparable(key: SortKey, value: Any) -> Any:
    """Raises Refusal for a value that has no place in the order."""
    text = orjson.dumps(value).decode() if isinstance(value, orjson.Fragment) else value
    try:
        if key.kind == "number" and not isinstance(text, bool) and isinstance(text, int | str):
            return Decimal(text)
        if key.kind == "time" and isinstance(text, str):
            found = datetime.fromisoformat(text)
            return (found.tzinfo is not None, found)
        if key.kind == "text" and isinstance(value, str):
            return value
    except (ValueError, InvalidOperation):
        pass
    raise Refusal(SEARCH_NOT_MERGED, detail="order")


def _tell(answer: Any, told: Told, window: Window, names: Sequence[str], page: Sequence[str]) -> None:
    """A member that follows from the page.

    page: counted from 1, of `of` rows; next_offset: 0 of an empty page, null of the last; cursor: the next offset as a
    text, its outermost member only there where more follows; ids_from_last: rows whose id is that of the last row of
    the page or greater, null where those are all, 0 of an empty page.
    """
    end = window.offset + len(page)
    more = end < len(names)
    value: Any
    match told.kind:
        case "count":
            value = len(page)
        case "page":
            value = window.offset // (told.of or window.size) + 1
        case "offset":
            value = window.offset
        case "size":
            value = window.size
        case "more":
            value = more
        case "next_offset":
            value = (end if more else None) if page else 0
        case "ids_from_last":
            after = sum(name >= page[-1] for name in names) if page else 0
            value = after if not page or after != len(names) else None
        case _:  # cursor
            if not more:
                answer.pop(told.at[0], None)
                return
            answer[told.at[0]] = _nested(told.at[1:], str(end))
            return
    put(answer, told.at, value)


def _nested(path: Path, value: str) -> Any:
    return {path[0]: _nested(path[1:], value)} if path else value


def _link(plan: Plan, told: Told, total: int, base: str, query: str) -> str | None:
    """The address of the page after or before this one, with everything else as the person asked for it."""
    window, paging = plan.window, plan.rule.paging
    offset = window.offset + window.size if told.kind == "next" else max(window.offset - window.size, 0)
    if (told.kind == "next" and offset >= total) or (told.kind == "previous" and window.offset == 0):
        return None
    place = paging.offset or paging.page
    number = offset if paging.offset else offset // window.size + paging.first
    values: dict[str, Any] = {paging.size: window.size, place: number}
    if paging.offset and not offset:
        del values[place]
    return _with(f"{base}?{query}", {paging.size, place}, values)


def _at(value: Any, path: Path) -> Any:
    for step in path:
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def put(answer: Any, path: Path, value: Any) -> None:
    """Set a member that is there; raises Refusal where it is not."""
    holder = _at(answer, path[:-1])
    if not isinstance(holder, dict) or path[-1] not in holder:
        raise Refusal(SEARCH_LEG_FAILED, detail="member")
    holder[path[-1]] = value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Refusal(SEARCH_LEG_FAILED, detail="total")
    return value
