"""Which rows a statement can need at all: comparisons of a column with a constant that every used row has to fulfil.

Taken from the WHERE of the very query that names the table, joined by AND. Rows that fail one of them cannot take part
in the result, whatever the kind of join: WHERE comes after it, and a comparison with nothing is not true.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp

_SIGNS: Mapping[type[exp.Expr], str] = {exp.EQ: "=", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<="}
_TURNED = {"=": "=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}
NUMBERS = frozenset({"index", "status", "count"})
MOMENTS = frozenset({"at"})


@dataclass(frozen=True, slots=True)
class Bound:
    """One comparison. sign: "=", "<", "<=", ">", ">=" or "in"; values: constant expressions, as DuckDB reads them."""

    column: str
    sign: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What the rows of one use of a table have to fulfil, all of it; no bounds: every row is needed."""

    table: str
    bounds: tuple[Bound, ...]


def narrowings(tree: exp.Expr, tables: Mapping[str, Collection[str]]) -> Iterator[Narrowing]:
    """One for each use of a table, before names are bound."""
    for table in tree.find_all(exp.Table):
        name = table.name.lower()
        if name not in tables:
            continue
        select = table.find_ancestor(exp.Select)
        direct = select is not None and _sources(select, table)
        where = select.args.get("where") if select is not None and direct else None
        if where is None or select is None:
            yield Narrowing(name, ())
            continue
        alias = (table.alias or name).lower()
        alone = not select.args.get("joins")
        found = [
            bound
            for one in _conjuncts(where.this)
            for bound in _bounds(one)
            if bound[0].name.lower() in tables[name]
            and (bound[0].table.lower() == alias or (alone and not bound[0].table))
        ]
        yield Narrowing(name, tuple(Bound(column.name.lower(), sign, values) for column, sign, values in found))


def _sources(select: exp.Select, table: exp.Table) -> bool:
    """Whether the table stands in FROM or JOIN of this query itself, under a name that no other source has."""
    sources = [select.args["from_"].this] if select.args.get("from_") else []
    sources += [join.this for join in select.args.get("joins") or ()]
    names = [source.alias_or_name.lower() for source in sources]
    return any(source is table for source in sources) and names.count(table.alias_or_name.lower()) == 1


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    stack = [condition]
    while stack:
        one = stack.pop()
        if isinstance(one, exp.And):
            stack += [one.this, one.expression]
        elif isinstance(one, exp.Paren):
            stack.append(one.this)
        else:
            yield one


def _bounds(one: exp.Expr) -> Iterator[tuple[exp.Column, str, tuple[str, ...]]]:
    if type(one) in _SIGNS:
        sign = _SIGNS[type(one)]
        for column, value, turned in (
            (one.this, one.expression, sign),
            (one.expression, one.this, _TURNED[sign]),
        ):
            if isinstance(column, exp.Column) and _constant(column, value):
                yield column, turned, (value.sql("duckdb"),)
                return
    elif isinstance(one, exp.Between) and isinstance(one.this, exp.Column) and not one.args.get("symmetric"):
        low, high = one.args["low"], one.args["high"]
        if _constant(one.this, low) and _constant(one.this, high):
            yield one.this, ">=", (low.sql("duckdb"),)
            yield one.this, "<=", (high.sql("duckdb"),)
    elif isinstance(one, exp.In) and isinstance(one.this, exp.Column) and one.expressions:
        values = [value for value in one.expressions if _constant(one.this, value)]
        if len(values) == len(one.expressions):
            yield one.this, "in", tuple(value.sql("duckdb") for value in values)


def _constant(column: exp.Column, value: exp.Expr) -> bool:
    """Whether a value is one constant of the column's own type, so that comparing it elsewhere means the same."""
    name = column.name.lower()
    if name in NUMBERS:
        return isinstance(value, exp.Literal) and not value.is_string and value.name.isdigit() and len(value.name) < 19
    if name in MOMENTS:
        return value.find(exp.Column, exp.Query, exp.Star) is None and not value.find(exp.Anonymous, exp.AggFunc)
    return isinstance(value, exp.Literal) and value.is_string
