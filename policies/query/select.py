"""SOQL, COQL and XOQL: one SELECT with its filter, read by sqlglot.

sqlglot reads more than any CRM does, and forgives more. So it never sees the query itself: each word that is no keyword
and each literal goes in as a name of ours (`W3`, `V7`), the tree it makes may hold only nodes that are known here, and
every name has to come back once. What reads differently there than in the CRM is then refused, not misread.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from policies.query.parsed import Column, Compare, Operand, Purpose, Query, QueryInvalid, Test, Use
from policies.query.words import Sort, Word, meant, words

_COMMON = frozenset(
    [
        "SELECT",
        "FROM",
        "WHERE",
        "AND",
        "OR",
        "NOT",
        "IN",
        "LIKE",
        "NULL",
        "TRUE",
        "FALSE",
        "GROUP",
        "BY",
        "HAVING",
        "ORDER",
        "ASC",
        "DESC",
        "LIMIT",
        "OFFSET",
        "AS",
    ]
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one language has beside the common words. asides: pairs of words at the end that change no value."""

    keywords: frozenset[str]
    asides: frozenset[tuple[str, str]] = frozenset()
    escapes: bool = True
    picks: frozenset[str] = frozenset()


DIALECTS: Mapping[str, Dialect] = {
    "soql": Dialect(
        _COMMON | {"NULLS", "FIRST", "LAST"},
        frozenset(
            {
                ("ALL", "ROWS"),
                ("FOR", "VIEW"),
                ("FOR", "REFERENCE"),
                ("WITH", "SECURITY_ENFORCED"),
                ("WITH", "USER_MODE"),
            }
        ),
        picks=frozenset({"INCLUDES", "EXCLUDES"}),
    ),
    "coql": Dialect(_COMMON | {"IS", "BETWEEN", "DISTINCT"}),
    # Nobody has seen an official page on how XOQL escapes a quotation mark, so a text with a backslash is refused.
    "xoql": Dialect(_COMMON | {"IS", "BETWEEN", "DISTINCT"}, escapes=False),
}
AGGREGATES = frozenset({"count", "count_distinct", "min", "max", "sum", "avg"})
_DAYS = re.compile(
    r"(?:YESTERDAY|TODAY|TOMORROW|(?:LAST|THIS|NEXT)_(?:WEEK|MONTH|QUARTER|YEAR|FISCAL_QUARTER|FISCAL_YEAR|90_DAYS))\Z",
    re.IGNORECASE,
)
_RANGES = (exp.LT, exp.LTE, exp.GT, exp.GTE)
_COMPARISONS = (exp.EQ, exp.NEQ, exp.Like, *_RANGES)
_SELECT_PARTS = frozenset({"expressions", "from_", "where", "group", "having", "order", "limit", "offset", "distinct"})


def parse_select(text: str, language: str) -> Query:
    """A query of one of these languages.

    Raises: QueryInvalid when it is not understood to its last word.
    """
    dialect = DIALECTS[language]
    reader = _Reader(text, dialect, words(text))
    tree = _tree(reader.masked())
    reader.select(tree, ())
    reader.require_whole()
    return Query(text, language, tuple(reader.tests), tuple(reader.uses), tuple(reader.loose), tuple(reader.aliases))


def _tree(masked: str) -> exp.Select:
    try:
        trees = sqlglot.parse(masked)
    except (SqlglotError, RecursionError):
        raise QueryInvalid("grammar") from None
    if len(trees) != 1 or not isinstance(trees[0], exp.Select):
        raise QueryInvalid("grammar")
    return trees[0]


@dataclass(slots=True)
class _Reader:
    """Walks one tree; used once. tests, uses, loose, aliases: what it found."""

    text: str
    dialect: Dialect
    words: list[Word]
    tests: list[Test] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    loose: list[Operand] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    _aside: set[int] = field(default_factory=set)
    _picked: set[int] = field(default_factory=set)
    _met: set[int] = field(default_factory=set)
    _names: set[int] = field(default_factory=set)

    # -- what sqlglot gets -----------------------------------------------------------------------------------

    def masked(self) -> str:
        """The query with names of ours in the place of everything that is no keyword and no sign."""
        given = []
        for at, word in enumerate(self.words):
            upper = word.text.upper()
            if at in self._aside or self._is_aside(at):
                continue
            if word.sort is Sort.SIGN:
                given.append(word.text)
            elif word.sort is Sort.WORD and upper in self.dialect.picks and self._sign(at + 1) == "(":
                self._pick(at)
                given.append("IN" if upper == "INCLUDES" else "NOT IN")
            elif word.sort is Sort.WORD and upper in self.dialect.keywords and not self._is_object(at):
                given.append(upper)
            else:
                self._names.add(at)
                given.append(f"{'W' if word.sort is Sort.WORD else 'V'}{at}")
        return " ".join(given)

    def _sign(self, at: int) -> str:
        return self.words[at].text if at < len(self.words) else ""

    def _is_object(self, at: int) -> bool:
        """Order, Group and Case are objects as well: behind FROM stands no keyword."""
        return at > 0 and self._sign(at - 1).upper() == "FROM"

    def _is_aside(self, at: int) -> bool:
        pair = (self._sign(at).upper(), self._sign(at + 1).upper())
        if pair not in self.dialect.asides or at == 0 or self._sign(at - 1).upper() in ("FROM", "SELECT"):
            return False
        self._aside |= {at, at + 1}
        return True

    def _pick(self, at: int) -> None:
        while (at := at + 1) < len(self.words) and self.words[at].text != ")":
            self._picked.add(at)

    def require_whole(self) -> None:
        """Every name of ours was met: nothing of the query is out of sight."""
        if self._met != self._names:
            raise QueryInvalid("grammar")

    # -- the tree --------------------------------------------------------------------------------------------

    def select(self, tree: exp.Expr, above: tuple[str, ...], *, compared: bool = False) -> None:
        """One SELECT; above: the object whose children it reads; compared: its column is compared with another one."""
        parts = _parts(tree)
        needed = {"from_", "expressions"}
        if not isinstance(tree, exp.Select) or not needed <= set(parts) <= _SELECT_PARTS:
            raise QueryInvalid("grammar")
        if "distinct" in parts and _parts(parts["distinct"]):
            raise QueryInvalid("grammar")
        table, alias = self._table(parts["from_"].this)
        scope = _Scope(
            (*above, *table), frozenset({alias.lower(), table[-1].lower()} if alias else {table[-1].lower()})
        )
        for one in tree.expressions:
            self._selected(one, scope, compared=compared)
        for name in ("where", "having"):
            if name in parts:
                self._condition(parts[name].this, scope)
        if "group" in parts:
            group = _parts(parts["group"])
            if set(group) != {"expressions"}:
                raise QueryInvalid("grammar")
            for one in group["expressions"]:
                self._used(one, scope, Purpose.GROUP)
        if "order" in parts:
            self._ordered(parts["order"], scope)
        for name in ("limit", "offset"):
            if name in parts:
                self._number(parts[name])

    def _table(self, tree: exp.Expr) -> tuple[tuple[str, ...], str]:
        parts = _parts(tree)
        if not isinstance(tree, exp.Table) or not {"this", "alias"}.issuperset(parts):
            raise QueryInvalid("grammar")
        alias = ""
        if "alias" in parts:
            named = _parts(parts["alias"])
            if set(named) != {"this"}:
                raise QueryInvalid("grammar")
            alias = self._word(named["this"]).text
            self.aliases.append(alias)
        return tuple(self._word(parts["this"]).text.split(".")), alias

    def _selected(self, tree: exp.Expr, scope: "_Scope", *, compared: bool) -> None:
        purpose = Purpose.FILTER if compared else Purpose.SELECT
        if isinstance(tree, exp.Alias):
            self._used(tree.this, scope, purpose, self._word(tree.args["alias"]).text)
        elif isinstance(tree, exp.Subquery):
            if set(_parts(tree)) != {"this"} or compared:
                raise QueryInvalid("grammar")
            self.select(tree.this, scope.table)
        elif not isinstance(tree, exp.Star) or _parts(tree) or compared:
            self._used(tree, scope, purpose)

    def _used(self, tree: exp.Expr, scope: "_Scope", purpose: Purpose, alias: str = "") -> None:
        """A column, or a function of columns, in a list."""
        if isinstance(tree, exp.Column):
            self.uses.append(Use(purpose, scope.column(self._word(tree)), "", alias))
            return
        name, arguments = self._call(tree)
        if name == "fields" and purpose is Purpose.SELECT and not alias:
            for one in arguments:
                if self._word(one).text.upper() not in ("ALL", "STANDARD", "CUSTOM"):
                    raise QueryInvalid("grammar")
            return
        inner = Purpose.AGGREGATE if name in AGGREGATES and purpose is Purpose.SELECT else purpose
        for one in arguments:
            if isinstance(one, exp.Column):
                self.uses.append(Use(inner, scope.column(self._word(one)), name, alias))
            elif isinstance(one, exp.Anonymous):
                self._used(one, scope, inner if inner is not Purpose.SELECT else Purpose.AGGREGATE, alias)
            else:
                raise QueryInvalid("grammar")

    def _call(self, tree: exp.Expr) -> tuple[str, list[exp.Expr]]:
        if not isinstance(tree, exp.Anonymous) or not {"this", "expressions"}.issuperset(_parts(tree)):
            raise QueryInvalid("grammar")
        return self._named(str(tree.this)).text.lower(), tree.expressions

    def _ordered(self, tree: exp.Expr, scope: "_Scope") -> None:
        if set(_parts(tree)) != {"expressions"}:
            raise QueryInvalid("grammar")
        for one in tree.expressions:
            if not isinstance(one, exp.Ordered) or not {"this", "desc", "nulls_first"}.issuperset(_parts(one)):
                raise QueryInvalid("grammar")
            self._used(one.this, scope, Purpose.SORT)

    def _number(self, tree: exp.Expr) -> None:
        parts = _parts(tree)
        for one in [parts.pop("expression", None), parts.pop("offset", None)]:
            if one is not None and self._operand(one).quoted:
                raise QueryInvalid("grammar")
        if parts:
            raise QueryInvalid("grammar")

    # -- conditions ------------------------------------------------------------------------------------------

    def _condition(self, tree: exp.Expr, scope: "_Scope") -> None:
        waiting = [tree]
        while waiting:
            one = waiting.pop()
            parts = _parts(one)
            if isinstance(one, exp.And | exp.Or):
                if set(parts) != {"this", "expression"}:
                    raise QueryInvalid("grammar")
                waiting += [one.expression, one.this]
            elif isinstance(one, exp.Paren | exp.Not):
                if set(parts) != {"this"}:
                    raise QueryInvalid("grammar")
                waiting.append(one.this)
            else:
                self._test(one, scope)

    def _test(self, tree: exp.Expr, scope: "_Scope") -> None:
        parts = _parts(tree)
        if isinstance(tree, exp.In):
            self._among(tree, parts, scope)
            return
        if isinstance(tree, exp.Between):
            if set(parts) != {"this", "low", "high"}:
                raise QueryInvalid("grammar")
            both = [self._operand(parts["low"]), self._operand(parts["high"])]
            self._add(tree.this, scope, Compare.RANGE, both)
            return
        if isinstance(tree, exp.Is):
            if set(parts) != {"this", "expression"} or not isinstance(tree.expression, exp.Null):
                raise QueryInvalid("grammar")
            self._add(tree.this, scope, Compare.EMPTY, [])
            return
        if isinstance(tree, exp.Like):
            parts.pop("negate", None)
        if not isinstance(tree, _COMPARISONS) or set(parts) != {"this", "expression"}:
            raise QueryInvalid("grammar")
        right = tree.expression
        if isinstance(right, exp.Null | exp.Boolean):
            self._add(tree.this, scope, Compare.EMPTY, [])
        elif self._is_literal(right):
            like = isinstance(tree, exp.Like)
            compare = Compare.LIKE if like else Compare.RANGE if isinstance(tree, _RANGES) else Compare.EQUAL
            self._add(tree.this, scope, compare, [self._operand(right, like=like)])
        elif isinstance(right, exp.Column) and _DAYS.match(self._peek(right)):
            self._word(right)
            self._add(tree.this, scope, Compare.RANGE, [])
        elif isinstance(right, exp.Column):
            # One column compared with another tells about both.
            self.uses.append(Use(Purpose.FILTER, scope.column(self._word(right))))
            self._add(tree.this, scope, Compare.OTHER, [])
        else:
            raise QueryInvalid("grammar")

    def _among(self, tree: exp.Expr, parts: Mapping[str, object], scope: "_Scope") -> None:
        if set(parts) == {"this", "query"}:
            inner = tree.args["query"]
            if not isinstance(inner, exp.Subquery) or set(_parts(inner)) != {"this"}:
                raise QueryInvalid("grammar")
            self._add(tree.this, scope, Compare.OTHER, [])
            self.select(inner.this, (), compared=True)
            return
        if set(parts) != {"this", "expressions"}:
            raise QueryInvalid("grammar")
        operands = [self._operand(one) for one in tree.expressions]
        picked = {word.start for at, word in enumerate(self.words) if at in self._picked}
        compare = Compare.PICKED if any(one.start in picked for one in operands) else Compare.AMONG
        self._add(tree.this, scope, compare, operands)

    def _add(self, left: exp.Expr, scope: "_Scope", compare: Compare, operands: Iterable[Operand]) -> None:
        """One test; its column stands right in front of the operator, or in brackets after a function."""
        given, function = tuple(operands), ""
        if not isinstance(left, exp.Column):
            function, arguments = self._call(left)
            if not arguments:
                return  # count() > 5
            for one in arguments:
                if not isinstance(one, exp.Column):
                    raise QueryInvalid("grammar")
                self.uses.append(Use(Purpose.FILTER, scope.column(self._word(one)), function))
            self.loose += given
            return
        word = self._word(left)
        at = next(number for number, one in enumerate(self.words) if one.start == word.start)
        operator = self._follow(at + 1)
        denied = operator.text.upper() in ("NOT", "!=", "<>", "EXCLUDES")
        end = given[-1].end if given else word.end
        if compare in (Compare.AMONG, Compare.PICKED):
            end = next(one.end for one in self.words if one.start >= end and one.text == ")")
        self.tests.append(
            Test(scope.column(word), compare, given, word.start, end, operator.start, word.text, denied=denied)
        )

    def _follow(self, at: int) -> Word:
        if at >= len(self.words):
            raise QueryInvalid("grammar")
        return self.words[at]

    # -- names of ours ---------------------------------------------------------------------------------------

    def _is_literal(self, tree: exp.Expr) -> bool:
        return isinstance(tree, exp.Column) and tree.name.startswith("V")

    def _peek(self, tree: exp.Expr) -> str:
        return self.words[int(tree.name[1:])].text

    def _named(self, name: str) -> Word:
        """The word behind a name of ours; each is met once."""
        at = int(name[1:]) if re.fullmatch(r"[WV][0-9]{1,5}", name) else -1
        if at not in self._names or at in self._met:
            raise QueryInvalid("grammar")
        self._met.add(at)
        return self.words[at]

    def _word(self, tree: exp.Expr) -> Word:
        if isinstance(tree, exp.Column) and set(_parts(tree)) == {"this"}:
            tree = tree.this
        if not isinstance(tree, exp.Identifier):
            raise QueryInvalid("grammar")
        word = self._named(tree.name)
        if word.sort is not Sort.WORD:
            raise QueryInvalid("grammar")
        return word

    def _operand(self, tree: exp.Expr, *, like: bool = False) -> Operand:
        if not self._is_literal(tree) or set(_parts(tree)) != {"this"}:
            raise QueryInvalid("grammar")
        word = self._named(tree.name)
        quoted = word.sort is Sort.TEXT
        if quoted and not self.dialect.escapes and "\\" in word.text:
            raise QueryInvalid("escape")
        return Operand(meant(word.text, like=like) if quoted else word.text, word.start, word.end, quoted)


@dataclass(frozen=True, slots=True)
class _Scope:
    """Where the columns of one SELECT belong. names: how the query calls its object, in lower case."""

    table: tuple[str, ...]
    names: frozenset[str]

    def column(self, word: Word) -> Column:
        """The column that a dotted word means."""
        names = tuple(word.text.split("."))
        if len(names) > 1 and names[0].lower() in self.names:
            names = names[1:]
        return Column(self.table, names)


def _parts(tree: exp.Expr) -> dict[str, Any]:
    """The parts of a node that say something."""
    return {key: value for key, value in tree.args.items() if value is not None and value is not False and value != []}
