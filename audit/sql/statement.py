"""An auditor's statement: parsed, held against the allow-lists, bound to one tenant, written anew.

What runs is rendered from the checked tree, never the given text. Each `event` and `sight` becomes a relation of the
schema `trail`, which holds the rows of one tenant and nothing else; names that the statement itself gives to queries
get a prefix, so that no name of the engine's own catalogue can be reached through one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from sqlglot import exp
from sqlglot.dialects import DuckDB
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokenizer_core import Token

from audit.sql import grammar
from audit.sql.narrowing import Narrowing, narrowings
from audit.sql.persons import Persons, name_persons
from audit.sql.refused import Place, StatementRefused
from audit.sql.shape import shape_of
from audit.sql.spelling import called, find, read_words

SCHEMA = "trail"
GIVEN = "given_"
TREE_DEPTH_LIMIT = 120
_CAPITALS = re.compile(r"[A-Z][a-z]*")
_SPELLED = {"locks": "for"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement that may run.

    sql: what runs; shape: its words without literals and given names; tables, columns: what it reads; limit: rows it
    returns at most; capped: whether the limit is ours and one row more is asked for to know whether there are more;
    narrowing: for each use of a table what its rows have to fulfil, so that others need not be loaded.
    """

    sql: str
    shape: tuple[str, ...]
    tables: tuple[str, ...]
    columns: frozenset[str]
    limit: int
    capped: bool
    narrowing: tuple[Narrowing, ...]


def _nobody(_asked: Sequence[str]) -> Mapping[str, Sequence[str]]:
    return {}


def check(text: str, now: datetime, *, rows: int, most_rows: int, persons: Persons = _nobody) -> Checked:
    """The statement in a text. Raises: StatementRefused, what `persons` raises.

    now: what `now()` and `current_date` mean, aware; rows: limit for a statement without one; most_rows: largest one;
    persons: names those that the statement means, asked once nothing else is wrong with it.
    """
    words = read_words(text)
    for word in called(words):
        if word.text.lower() not in grammar.FUNCTIONS:
            raise _unknown("unknown-function", words, word.text, grammar.FUNCTIONS)
    tree = _parsed(words, text)
    _allowed(tree, words)
    _measured(tree)
    given = _given(tree, words)
    tables = _tables(tree, words, given)
    _columns(tree, words, given)
    shape = shape_of(tree)
    columns = _read(tree)
    limit, capped = _limit(tree, words, rows, most_rows)
    name_persons(tree, words, persons)
    _freeze(tree, now)
    bounds = tuple(narrowings(tree, grammar.TABLES))
    _bind(tree, given)
    return Checked(_rendered(tree), shape, tables, columns, limit, capped, bounds)


def _parsed(words: list[Token], text: str) -> exp.Expr:
    try:
        trees = DuckDB().parser(error_level=ErrorLevel.IMMEDIATE).parse(words, text)
    except RecursionError:
        raise StatementRefused("too-deep") from None
    except SqlglotError as fault:
        told: Mapping[str, Any] = next(iter(getattr(fault, "errors", ())), {})
        line, end, word = told.get("line") or 0, told.get("col") or 0, str(told.get("highlight") or "")
        raise StatementRefused("unreadable", word, Place(line, max(1, end - len(word) + 1) if end else 0)) from None
    tree = trees[0] if len(trees) == 1 else None
    if tree is None:
        raise StatementRefused("several-statements" if trees else "empty")
    while (
        isinstance(tree, exp.Subquery | exp.Paren) and isinstance(tree.this, exp.Query) and not tree.args.get("alias")
    ):
        if any(value for key, value in tree.args.items() if key != "this"):
            break
        tree = tree.this
        tree.pop()
    if not isinstance(tree, exp.Select | exp.SetOperation | exp.Subquery):
        raise StatementRefused("no-query", words[0].text)
    return tree


def _nodes(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Every node, without the recursion that a deep tree would make too deep."""
    stack: list[exp.Expr] = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.iter_expressions())


def _measured(tree: exp.Expr) -> None:
    level, depth = [tree], 0
    while level:
        depth += 1
        if depth > TREE_DEPTH_LIMIT:
            raise StatementRefused("too-deep")
        level = [child for node in level for child in node.iter_expressions()]


def _allowed(tree: exp.Expr, words: Sequence[Token], more: frozenset[str] = frozenset()) -> None:
    """Hold every node against the lists. more: calls that only the renderer makes."""
    for node in _nodes(tree):
        kind = type(node)
        if kind is exp.With and node.args.get("recursive"):
            raise StatementRefused("recursive", "RECURSIVE", find(words, "recursive"))
        if kind not in grammar.NODES and not (more and isinstance(node, exp.Func) and _name(node) in more):
            raise _syntax(node, words)
        if kind is exp.Anonymous and str(node.this).lower() not in grammar.ANONYMOUS | more:
            raise _unknown("unknown-function", words, str(node.this), grammar.FUNCTIONS)
        if kind is exp.DataType and (not isinstance(node.this, exp.DType) or node.this.name not in grammar.TYPES):
            raise StatementRefused("unknown-type", node.sql("duckdb"), find(words, node.sql("duckdb")))
        if isinstance(node, exp.Table) and (node.args.get("db") or node.args.get("catalog")):
            full = ".".join(part.name for part in node.parts)
            raise StatementRefused(
                "unknown-table", full, find(words, node.parts[0].name), tuple(sorted(grammar.TABLES))
            )
        if isinstance(node, exp.Column) and node.args.get("db"):
            full = ".".join(part.name for part in node.parts)
            raise StatementRefused("unknown-column", full, find(words, node.parts[0].name))
        if kind is exp.Select and not node.expressions:
            raise StatementRefused("unreadable", "SELECT", find(words, "select"))
        parts = grammar.ARGUMENTS.get(kind)
        if parts is not None:
            for part, value in node.args.items():
                if value not in (None, False, []) and part not in parts:
                    raise _syntax(value if isinstance(value, exp.Expr) else node, words, part)
        if kind is exp.Join:
            _join(node, words)
        if kind is exp.Table and not isinstance(node.this, exp.Identifier):
            called_name = _name(node.this) if isinstance(node.this, exp.Func) else "…"
            raise StatementRefused("no-table", called_name, find(words, called_name))


def _join(node: exp.Expr, words: Sequence[Token]) -> None:
    for part, known in (("kind", grammar.JOINS), ("side", grammar.SIDES), ("method", grammar.METHODS)):
        given = str(node.args.get(part) or "").upper()
        if given not in known:
            raise StatementRefused("syntax", given, find(words, given))


def _name(node: exp.Expr) -> str:
    if isinstance(node, exp.Anonymous):
        return str(node.this).lower()
    return node.sql_name().lower() if isinstance(node, exp.Func) else ""


def _given(tree: exp.Expr, words: Sequence[Token]) -> frozenset[str]:
    """Names of the queries in WITH, in lower case."""
    names: set[str] = set()
    for node in _nodes(tree):
        if isinstance(node, exp.CTE):
            name = node.alias.lower()
            if name in grammar.TABLES or not name:
                raise StatementRefused("name-taken", node.alias, find(words, node.alias))
            names.add(name)
    return frozenset(names)


def _tables(tree: exp.Expr, words: Sequence[Token], given: frozenset[str]) -> tuple[str, ...]:
    used: set[str] = set()
    for node in _nodes(tree):
        if isinstance(node, exp.Table):
            name = node.name.lower()
            if name in grammar.TABLES:
                used.add(name)
                alias = node.args.get("alias")
                if alias is not None and alias.args.get("columns"):  # other names for columns would hide what is read
                    raise StatementRefused("syntax", alias.name, find(words, alias.name))
            elif name not in given:
                raise _unknown("unknown-table", words, node.name, grammar.TABLES.keys() | given)
    return tuple(sorted(used))


def _columns(tree: exp.Expr, words: Sequence[Token], given: frozenset[str]) -> None:
    """Only columns of the tables and names that the statement itself gives."""
    own: set[str] = set()
    relations = {*grammar.TABLES, *given}
    for node in _nodes(tree):
        if isinstance(node, exp.Alias):
            own.add(node.alias.lower())
        elif isinstance(node, exp.TableAlias):
            relations.add(node.name.lower())
            own.update(column.name.lower() for column in node.args.get("columns") or ())
    for node in _nodes(tree):
        if isinstance(node, exp.Column):
            if node.table and node.table.lower() not in relations:
                raise _unknown("unknown-table", words, node.table, relations)
            if not isinstance(node.this, exp.Star) and node.name.lower() not in grammar.COLUMNS | own:
                raise _unknown("unknown-column", words, node.name, grammar.COLUMNS | own)
        elif isinstance(node, exp.Join):
            for column in node.args.get("using") or ():
                if column.name.lower() not in grammar.COLUMNS | own:
                    raise _unknown("unknown-column", words, column.name, grammar.COLUMNS | own)


def _read(tree: exp.Expr) -> frozenset[str]:
    """Columns of the tables that the statement may read; a star reads all but those it leaves out."""
    read: set[str] = set()
    for node in _nodes(tree):
        if isinstance(node, exp.Star):
            if not isinstance(node.parent, exp.Count):
                left = {column.name.lower() for column in node.args.get("except_") or ()}
                read |= grammar.COLUMNS - left
        elif isinstance(node, exp.Identifier) and not isinstance(node.find_ancestor(exp.Star), exp.Star):
            read.add(node.name.lower())
        elif isinstance(node, exp.Join) and node.args.get("method"):
            read |= grammar.COLUMNS
    return frozenset(read & grammar.COLUMNS)


def _freeze(tree: exp.Expr, now: datetime) -> None:
    """One instant for the whole statement, which is the same where rows are loaded and where they are compared."""
    for node in list(_nodes(tree)):
        if isinstance(node, exp.CurrentTimestamp) or (isinstance(node, exp.Anonymous) and _name(node) == "now"):
            node.replace(exp.cast(exp.Literal.string(now.isoformat()), "TIMESTAMPTZ"))
        elif isinstance(node, exp.CurrentDate) and not node.this:
            node.replace(exp.cast(exp.Literal.string(now.date().isoformat()), "DATE"))


def _limit(tree: exp.Expr, words: Sequence[Token], rows: int, most_rows: int) -> tuple[int, bool]:
    given = tree.args.get("limit")
    if given is None:
        tree.set("limit", exp.Limit(expression=exp.Literal.number(rows + 1)))
        return rows, True
    wish = given.expression
    if not isinstance(wish, exp.Literal) or wish.is_string or not wish.name.isdigit():
        raise StatementRefused("limit-no-number", "LIMIT", find(words, "limit"))
    if len(wish.name) > len(str(most_rows)) or int(wish.name) > most_rows:
        raise StatementRefused("limit-too-large", wish.name, find(words, wish.name), (str(most_rows),))
    return int(wish.name), False


def _bind(tree: exp.Expr, given: frozenset[str]) -> None:
    for node in list(_nodes(tree)):
        if isinstance(node, exp.CTE):
            alias = node.args["alias"]
            alias.set("this", exp.to_identifier(GIVEN + alias.name.lower(), quoted=True))
        elif isinstance(node, exp.Table):
            name = node.name.lower()
            if not node.alias:
                node.set("alias", exp.TableAlias(this=exp.to_identifier(node.name, quoted=True)))
            if name in given:
                node.set("this", exp.to_identifier(GIVEN + name, quoted=True))
            else:
                node.set("this", exp.to_identifier(name, quoted=True))
                node.set("db", exp.to_identifier(SCHEMA, quoted=True))


def _rendered(tree: exp.Expr) -> str:
    """The SQL of the tree, itself read again and held against the lists, should the renderer and we differ."""
    try:
        written = tree.sql("duckdb", comments=False, unsupported_level=ErrorLevel.RAISE, identify=True)
        words = list(DuckDB().tokenize(written))
        again = DuckDB().parser(error_level=ErrorLevel.IMMEDIATE).parse(words, written)
    except (SqlglotError, RecursionError):
        raise StatementRefused("syntax") from None
    if len(again) != 1 or again[0] is None:
        raise StatementRefused("syntax")
    for word in called(words):
        if word.text.lower() not in grammar.FUNCTIONS | grammar.RENDERED:
            raise StatementRefused("syntax", word.text)
    for node in _nodes(again[0]):
        if isinstance(node, exp.Table):
            bound = node.db == SCHEMA and node.name in grammar.TABLES
            if not bound and (node.db or not node.name.startswith(GIVEN)):
                raise StatementRefused("syntax", node.name)
            node.set("db", None)
    _allowed(again[0], words, grammar.RENDERED)
    return written


def _syntax(node: exp.Expr, words: Sequence[Token], part: str = "") -> StatementRefused:
    """What to say about a kind of syntax that is not allowed: the word that begins it, where one can be found."""
    if isinstance(node, exp.Func) and not isinstance(node, exp.Connector):
        name = _name(node)
        return StatementRefused("unknown-function", name, find(words, name))
    kind = _CAPITALS.findall(type(node).__name__)[0]
    for name in (_SPELLED.get(part, part.split("_")[0]), type(node).__name__, kind, node.name):
        place = find(words, name) if name else Place()
        if place.line:
            return StatementRefused("syntax", name.upper(), place)
    return StatementRefused("syntax", (part.split("_")[0] or kind).upper())


def _unknown(reason: str, words: Sequence[Token], name: str, known: Iterable[str]) -> StatementRefused:
    names = sorted(known)
    close = tuple(get_close_matches(name.lower(), names, n=3))
    hint = close or (tuple(names) if reason == "unknown-table" else ())
    return StatementRefused(reason, name, find(words, name), hint)
