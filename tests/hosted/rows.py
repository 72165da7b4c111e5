"""SELECT over records in memory, as SOQL and COQL mean it; independent of the gateway's own reader.

sqlglot reads the text as it is (both languages escape with a backslash, as MySQL does) and this walks its tree. What is
not known here is `Unsupported`, which a hosted CRM answers with its own error.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tests.hosted.service import Record

Follow = Callable[[Record, str], Record | None]
Children = Callable[[Record, str], Sequence[Record]]


class Unsupported(Exception):  # noqa: N818 - what the query is
    """A query that the CRM would turn away."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where records come from. rows: of an object; follow: a relation to one record; children: one to several."""

    rows: Callable[[str], Sequence[Record]]
    follow: Follow
    children: Children


def select(text: str, source: Source) -> list[Record]:
    """The answer to a query: one dictionary a row, nested where the query names relations."""
    try:
        tree = sqlglot.parse_one(text, dialect="mysql")
    except SqlglotError:
        raise Unsupported("syntax") from None
    if not isinstance(tree, exp.Select):
        raise Unsupported("no select")
    return _rows(tree, source, source.rows(_table(tree)))


def _table(tree: exp.Select) -> str:
    found = tree.args["from_"].this
    return str(found.name)


def _rows(tree: exp.Select, source: Source, given: Sequence[Record]) -> list[Record]:
    alias = tree.args["from_"].this.alias
    walker = _Walker(source, alias)
    where = tree.args.get("where")
    rows = [one for one in given if where is None or walker.holds(where.this, one)]
    group = tree.args.get("group")
    if group is not None or any(_is_aggregate(one) for one in tree.expressions):
        return walker.grouped(tree, rows, group.expressions if group is not None else [])
    order = tree.args.get("order")
    for one in reversed(order.expressions if order is not None else []):
        key = one.this
        rows.sort(key=lambda row, key=key: str(walker.value(key, row) or ""), reverse=bool(one.args.get("desc")))
    offset, limit = _number(tree, "offset"), _number(tree, "limit")
    rows = rows[offset or 0 :][: limit if limit is not None else None]
    return [walker.shown(tree.expressions, one) for one in rows]


def _number(tree: exp.Select, name: str) -> int | None:
    part = tree.args.get(name)
    return int(part.expression.name) if part is not None else None


def _is_aggregate(tree: exp.Expr) -> bool:
    inner = tree.this if isinstance(tree, exp.Alias) else tree
    return isinstance(inner, exp.Count) or (
        isinstance(inner, exp.Anonymous) and str(inner.this).upper() == "COUNT_DISTINCT"
    )


@dataclass(frozen=True, slots=True)
class _Walker:
    source: Source
    alias: str

    def path(self, tree: exp.Expr) -> list[str]:
        """The dotted name of a column."""
        if not isinstance(tree, exp.Column):
            raise Unsupported(type(tree).__name__)
        names = [part.name for part in tree.parts]
        return names[1:] if len(names) > 1 and names[0] == self.alias else names

    def value(self, tree: exp.Expr, row: Record) -> Any:
        """A column of a row, perhaps over relations, or a literal."""
        if isinstance(tree, exp.Literal):
            return tree.name
        if isinstance(tree, exp.Null):
            return None
        if isinstance(tree, exp.Boolean):
            return bool(tree.this)
        names = self.path(tree)
        at: Record | None = row
        for name in names[:-1]:
            at = self.source.follow(at, name) if at is not None else None
        return at.get(names[-1]) if at is not None else None

    def holds(self, tree: exp.Expr, row: Record) -> bool:
        """Whether a condition is true of a row."""
        match tree:
            case exp.Paren():
                return self.holds(tree.this, row)
            case exp.And():
                return self.holds(tree.this, row) and self.holds(tree.expression, row)
            case exp.Or():
                return self.holds(tree.this, row) or self.holds(tree.expression, row)
            case exp.Not():
                return not self.holds(tree.this, row)
            case exp.EQ():
                return _same(self.value(tree.this, row), self.value(tree.expression, row))
            case exp.NEQ():
                return not _same(self.value(tree.this, row), self.value(tree.expression, row))
            case exp.Is():
                return self.value(tree.this, row) is None
            case exp.Like():
                found = _like(tree.expression.name, str(self.value(tree.this, row) or ""))
                return found != bool(tree.args.get("negate"))
            case exp.In():
                given = self.value(tree.this, row)
                query = tree.args.get("query")
                if query is None:
                    return any(_same(given, self.value(one, row)) for one in tree.expressions)
                inner = _rows(query.this, self.source, self.source.rows(_table(query.this)))
                return any(_same(given, one[key]) for one in inner for key in one)
            case exp.GT():
                return str(self.value(tree.this, row)) > str(self.value(tree.expression, row))
            case exp.LT():
                return str(self.value(tree.this, row)) < str(self.value(tree.expression, row))
        raise Unsupported(type(tree).__name__)

    def shown(self, columns: Sequence[exp.Expr], row: Record) -> Record:
        """The columns that the query asks for."""
        out: Record = {}
        for one in columns:
            if isinstance(one, exp.Subquery):
                name = _table(one.this)
                out[name] = _rows(one.this, self.source, self.source.children(row, name))
            elif isinstance(one, exp.Anonymous) and str(one.this).upper() == "FIELDS":
                out.update(row)
            elif isinstance(one, exp.Alias):
                out[one.alias] = self.value(one.this, row)
            else:
                names = self.path(one)
                at = out
                for name in names[:-1]:
                    at = at.setdefault(name, {})
                at[names[-1]] = self.value(one, row)
        return out

    def grouped(self, tree: exp.Select, rows: Sequence[Record], by: Sequence[exp.Expr]) -> list[Record]:
        """Groups with their counts."""
        groups: dict[tuple[Any, ...], list[Record]] = {}
        for row in rows:
            groups.setdefault(tuple(self.value(one, row) for one in by), []).append(row)
        if not by:
            groups = {(): list(rows)}
        out = []
        for members in groups.values():
            line: Record = {}
            for number, one in enumerate(tree.expressions):
                name = one.alias if isinstance(one, exp.Alias) else None
                inner = one.this if isinstance(one, exp.Alias) else one
                if _is_aggregate(one):
                    line[name or f"expr{number}"] = self.count(inner, members)
                else:
                    line[name or self.path(inner)[-1]] = self.value(inner, members[0])
            out.append(line)
        return out

    def count(self, tree: exp.Expr, rows: Sequence[Record]) -> int:
        """COUNT(), COUNT(column) or COUNT_DISTINCT(column)."""
        if isinstance(tree, exp.Anonymous):
            return len({self.value(tree.expressions[0], row) for row in rows} - {None})
        if tree.this is None:
            return len(rows)
        return sum(self.value(tree.this, row) is not None for row in rows)


def _same(one: Any, other: Any) -> bool:
    """CRMs compare texts without case."""
    return one == other if one is None or other is None else str(one).lower() == str(other).lower()


def _like(pattern: str, text: str) -> bool:
    parts = re.split(r"(\\.|%|_)", pattern)
    signs = {"%": ".*", "_": "."}
    made = "".join(signs.get(one) or re.escape(one[1:] if one.startswith("\\") else one) for one in parts)
    return re.fullmatch(made, text, re.IGNORECASE | re.DOTALL) is not None
