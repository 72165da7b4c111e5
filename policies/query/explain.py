"""What a query would mean, in names only: for `crmgate profile explain` and for recorded requests."""

from collections.abc import Iterable, Iterator

from policies.operation import FieldSpec, SearchRule, Where
from policies.query.language import parse
from policies.query.parsed import QueryInvalid
from policies.query.path import path_value
from policies.query.table import Standing, Tables


def columns_of(rule: SearchRule, option: str, text: str, tables: Tables) -> Iterator[tuple[str, str, FieldSpec | None]]:
    """(column as the query names it, how it is used and what it is, its field) of one query; never raises."""
    try:
        query = parse(rule.language, text, option=option, table=rule.table)
    except QueryInvalid as unread:
        yield "", f"refused: {unread.what}", None
        return
    named = [(one.column, one.compare.value) for one in query.tests]
    named += [(one.column, f"{one.purpose.value} {one.function}".strip()) for one in query.uses]
    for column, what in named:
        standing, spec = tables.standing(column)
        shown = what if standing is Standing.FIELD else f"{what} {standing.value}"
        yield ".".join((*column.table[1:], *column.names)), shown, spec


def path_operands(rules: Iterable[SearchRule], path: str) -> Iterator[tuple[str, FieldSpec | None]]:
    """(template, field) of the value in a path, if there is one."""
    for rule in rules:
        if rule.where is not Where.PATH:
            continue
        try:
            found = path_value(rule.selector, path)
        except QueryInvalid:
            continue
        if found is not None:
            yield "/".join(rule.selector), rule.field
