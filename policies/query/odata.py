"""OData: the system query options of a list, each a small language of its own (URL conventions, sections 5.1 and 11.2).

A strict reader of what Dataverse documents: `$filter`, `$orderby`, `$select`, `$expand` with options inside, and the
`$apply` of groups and aggregates. Lambdas, `$compute`, `$search` and functions that nobody needs are refused. It is
written here because no maintained parser tells where an operand stands, which rewriting rests on.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from policies.query.parsed import (
    LONGEST_CHARS,
    MOST_LEVELS,
    Column,
    Compare,
    Operand,
    Purpose,
    Query,
    QueryInvalid,
    Test,
    Use,
)

_TOKEN = re.compile(
    r"""(?P<blank>[ \t]+)
    |(?P<text>'(?:[^'\x00-\x1f]|'')*')
    |(?P<guid>[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![\w.-]))
    |(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,12})?)?(?:Z|[+-][0-9]{2}:[0-9]{2}))?(?![\w.:-]))
    |(?P<number>-?[0-9]+(?:\.[0-9]+)?(?![\w.]))
    |(?P<word>\$?[A-Za-z_][A-Za-z0-9_.]*(?:/[A-Za-z_][A-Za-z0-9_.]*)*(?![\w./$@']))
    |(?P<sign>[(),;=*/])""",
    re.VERBOSE | re.ASCII,
)
_SEMANTIC = {"contains": "%{}%", "startswith": "{}%", "endswith": "%{}"}
_COMPARISONS = {"eq": Compare.EQUAL, "ne": Compare.EQUAL, **dict.fromkeys(("gt", "ge", "lt", "le"), Compare.RANGE)}
_FUNCTIONS = frozenset(
    [
        "tolower",
        "toupper",
        "trim",
        "length",
        "indexof",
        "substring",
        "concat",
        "year",
        "month",
        "day",
        "hour",
        "minute",
        "second",
        "date",
        "time",
        "round",
        "floor",
        "ceiling",
    ]
)
_HARMLESS = frozenset({"$top", "$skip", "$count", "$skiptoken", "$format", "$deltatoken"})
_LITERAL_WORDS = frozenset({"true", "false", "null"})
_AGGREGATES = frozenset({"sum", "min", "max", "average", "countdistinct"})


@dataclass(frozen=True, slots=True)
class _Word:
    sort: str
    text: str
    start: int
    end: int


_END = _Word("end", "", 0, 0)


def parse_odata(text: str, option: str, table: tuple[str, ...]) -> Query:
    """One query option. option: its name, with or without `$`; table: the entity set that is asked for.

    Raises: QueryInvalid when it is not understood to its last word, or is an option that is not known.
    """
    name = "$" + option.lower().removeprefix("$")
    if name in _HARMLESS:
        return Query(text, "odata")
    if name not in _OPTIONS:
        raise QueryInvalid("option")
    reader = _Reader(text, _words(text))
    _OPTIONS[name](reader, table, 0)
    reader.require(reader.take() is _END)
    return Query(text, "odata", tuple(reader.tests), tuple(reader.uses), tuple(reader.loose))


def _words(text: str) -> list[_Word]:
    if len(text) > LONGEST_CHARS:
        raise QueryInvalid("too-long")
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise QueryInvalid("sign")
        at = match.end()
        if match.lastgroup != "blank":
            found.append(_Word(match.lastgroup or "", match.group(), match.start(), at))
    return found


def _decoded(literal: str) -> str:
    return literal[1:-1].replace("''", "'")


@dataclass(slots=True)
class _Reader:
    """Reads one option; used once."""

    text: str
    words: list[_Word]
    at: int = 0
    tests: list[Test] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    loose: list[Operand] = field(default_factory=list)

    # -- words -----------------------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> _Word:
        """A word that comes, or the end."""
        return self.words[self.at + ahead] if self.at + ahead < len(self.words) else _END

    def take(self) -> _Word:
        """The next word."""
        word = self.peek()
        self.at += 1
        return word

    def require(self, so: bool) -> None:
        """Raises QueryInvalid where the grammar is broken."""
        if not so:
            raise QueryInvalid("grammar")

    def sign(self, text: str) -> _Word:
        """The next word, which has to be this sign."""
        word = self.take()
        self.require(word.sort == "sign" and word.text == text)
        return word

    def skip(self, text: str) -> bool:
        """Take a sign if it comes."""
        found = self.peek().sort == "sign" and self.peek().text == text
        self.at += found
        return found

    def keyword(self, *texts: str) -> bool:
        """Take one of these keywords if it comes."""
        found = self.peek().sort == "word" and self.peek().text in texts
        self.at += found
        return found

    def name(self) -> _Word:
        """The next word, which has to be a name."""
        word = self.take()
        self.require(word.sort == "word" and "$" not in word.text)
        return word

    # -- $filter ---------------------------------------------------------------------------------------------

    def condition(self, table: tuple[str, ...], depth: int) -> None:
        """Conditions joined by and, or, not."""
        self.require(depth <= MOST_LEVELS)
        while True:
            while self.keyword("not"):
                pass
            if self.peek().text == "(" and self.peek().sort == "sign":
                self.take()
                self.condition(table, depth + 1)
                self.sign(")")
            else:
                self.test(table)
            if not self.keyword("and", "or"):
                return

    def test(self, table: tuple[str, ...]) -> None:
        """One comparison, or one function that says yes or no."""
        first = self.peek()
        if first.sort == "word" and first.text in _SEMANTIC:
            self.part_of(table)
            return
        column, function, start = self.side(table)
        operator = self.take()
        self.require(operator.sort == "word")
        if operator.text == "in":
            self.among(table, column, function, start, operator)
            return
        self.require(operator.text in _COMPARISONS)
        right = self.peek()
        if right.sort == "word" and right.text not in _LITERAL_WORDS:
            other, outer, _ = self.side(table)
            self.uses.append(Use(Purpose.FILTER, other, outer))
            self.uses.append(Use(Purpose.FILTER, column, function))
            return
        self.take()
        compare = Compare.EMPTY if right.sort == "word" else _COMPARISONS[operator.text]
        given = () if right.sort == "word" else (self.operand(right),)
        self.add(column, function, compare, given, start, right.end, operator, denied=operator.text == "ne")

    def side(self, table: tuple[str, ...]) -> tuple[Column, str, _Word]:
        """A column, plain or in a function."""
        word = self.name()
        if self.peek().text != "(" or word.text not in _FUNCTIONS:
            self.require(self.peek().text != "(")
            return _column(table, word.text), "", word
        self.sign("(")
        inner = self.name()
        self.require(inner.text not in _FUNCTIONS)
        while self.skip(","):
            literal = self.take()
            self.loose.append(self.operand(literal))
        self.sign(")")
        return _column(table, inner.text), word.text, inner

    def part_of(self, table: tuple[str, ...]) -> None:
        """contains(column,'text') and its like."""
        function = self.take()
        self.sign("(")
        column = self.name()
        self.sign(",")
        literal = self.take()
        self.require(literal.sort == "text")
        end = self.sign(")")
        escaped = re.sub(r"([%_\\])", r"\\\1", _decoded(literal.text))
        operand = Operand(_SEMANTIC[function.text].format(escaped) if escaped else "", literal.start, literal.end)
        self.tests.append(
            Test(
                _column(table, column.text),
                Compare.LIKE,
                (operand,),
                function.start,
                end.end,
                function.start,
                column.text,
            )
        )

    def among(self, table: tuple[str, ...], column: Column, function: str, start: _Word, operator: _Word) -> None:
        """A list behind `in`."""
        self.sign("(")
        given = [self.operand(self.take())]
        while self.skip(","):
            given.append(self.operand(self.take()))
        end = self.sign(")")
        self.add(column, function, Compare.AMONG, tuple(given), start, end.end, operator, denied=False)

    def operand(self, word: _Word) -> Operand:
        """A literal."""
        self.require(word.sort in ("text", "guid", "date", "number"))
        quoted = word.sort == "text"
        return Operand(_decoded(word.text) if quoted else word.text, word.start, word.end, quoted)

    def add(
        self,
        column: Column,
        function: str,
        compare: Compare,
        operands: tuple[Operand, ...],
        start: _Word,
        end: int,
        operator: _Word,
        *,
        denied: bool,
    ) -> None:
        """One test; inside a function its column is only used."""
        if function:
            self.uses.append(Use(Purpose.FILTER, column, function))
            self.loose += operands
            return
        self.tests.append(Test(column, compare, operands, start.start, end, operator.start, start.text, denied=denied))

    # -- lists -----------------------------------------------------------------------------------------------

    def ordered(self, table: tuple[str, ...], _depth: int) -> None:
        """$orderby."""
        while True:
            column, function, _ = self.side(table)
            self.uses.append(Use(Purpose.SORT, column, function))
            self.keyword("asc", "desc")
            if not self.skip(","):
                return

    def selected(self, table: tuple[str, ...], _depth: int) -> None:
        """$select."""
        while True:
            if not self.skip("*"):
                self.uses.append(Use(Purpose.SELECT, _column(table, self.name().text)))
            if not self.skip(","):
                return

    def expanded(self, table: tuple[str, ...], depth: int) -> None:
        """$expand, with options inside."""
        self.require(depth <= MOST_LEVELS)
        while True:
            word = self.name()
            below = (*table, *word.text.split("/"))
            self.uses.append(Use(Purpose.SELECT, Column(below, ())))
            if self.skip("("):
                while True:
                    option = self.take().text.lower()
                    self.sign("=")
                    if option in _HARMLESS:
                        self.require(self.take().sort in ("number", "word"))
                    else:
                        self.require(option in _OPTIONS and option != "$apply")
                        _OPTIONS[option](self, below, depth + 1)
                    if not self.skip(";"):
                        break
                self.sign(")")
            if not self.skip(","):
                return

    def applied(self, table: tuple[str, ...], _depth: int) -> None:
        """$apply: filter(…)/groupby((…),aggregate(…)), steps joined by a slash."""
        while True:
            name = self.take().text
            self.require(name in ("filter", "groupby", "aggregate"))
            self.sign("(")
            if name == "filter":
                self.condition(table, 0)
            elif name == "groupby":
                self.grouped(table)
            else:
                self.aggregated(table)
            self.sign(")")
            if not self.skip("/"):
                return

    def grouped(self, table: tuple[str, ...]) -> None:
        """(columns), then perhaps aggregate(…)."""
        self.sign("(")
        while True:
            self.uses.append(Use(Purpose.GROUP, _column(table, self.name().text)))
            if not self.skip(","):
                break
        self.sign(")")
        if self.skip(","):
            self.require(self.keyword("aggregate"))
            self.sign("(")
            self.aggregated(table)
            self.sign(")")

    def aggregated(self, table: tuple[str, ...]) -> None:
        """`$count as n` or `column with sum as n`."""
        while True:
            word = self.take()
            self.require(word.sort == "word")
            column = None if word.text == "$count" else _column(table, word.text)
            function = "count"
            if column is not None:
                self.require(self.keyword("with"))
                function = self.name().text.lower()
                self.require(function in _AGGREGATES)
            self.require(self.keyword("as"))
            alias = self.name().text
            if column is not None:
                self.uses.append(Use(Purpose.AGGREGATE, column, function, alias))
            else:
                self.uses.append(Use(Purpose.SELECT, Column(table, ()), "count", alias))
            if not self.skip(","):
                return


def _column(table: tuple[str, ...], path: str) -> Column:
    return Column(table, tuple(path.split("/")))


_OPTIONS: Mapping[str, Callable[[_Reader, tuple[str, ...], int], None]] = {
    "$filter": _Reader.condition,
    "$orderby": _Reader.ordered,
    "$select": _Reader.selected,
    "$expand": _Reader.expanded,
    "$apply": _Reader.applied,
}
