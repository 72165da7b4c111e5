"""The words of a query language of the SQL family, with their places; whatever is not one of them refuses the query.

Comments, identifiers in quotation marks, parameters and signs outside ASCII have no place in SOQL, COQL or XOQL, and
two readers could disagree about them, so they are refused here, before any parser sees them.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from policies.query.parsed import LONGEST_CHARS, MOST_LEVELS, MOST_TOKENS, QueryInvalid

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+)
    |(?P<text>'(?:[^'\\\x00-\x08\x0b\x0c\x0e-\x1f]|\\.)*')
    |(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?(?![\w.:-]))
    |(?P<span>[A-Za-z_]+:[0-9]{1,6}(?![\w.:]))
    |(?P<number>[+-]?[0-9]+(?:\.[0-9]+)?(?![\w.:]))
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*(?![\w.:$@'"`]))
    |(?P<sign><=|>=|!=|<>|[()=<>,*])""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_LITERALS = frozenset({"text", "date", "span", "number"})


class Sort(StrEnum):
    """What a word is."""

    TEXT = "text"
    VALUE = "value"
    WORD = "word"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its place in the query."""

    sort: Sort
    text: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """All words of a query, in order.

    Raises: QueryInvalid for anything that is no word of these languages.
    """
    if len(text) > LONGEST_CHARS:
        raise QueryInvalid("too-long")
    found: list[Word] = []
    at = depth = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise QueryInvalid("sign")
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "blank":
            continue
        sort = Sort.TEXT if kind == "text" else Sort.VALUE if kind in _LITERALS else Sort(kind)
        found.append(Word(sort, match.group(), match.start(), at))
        depth += (match.group() == "(") - (match.group() == ")")
        if depth > MOST_LEVELS or len(found) > MOST_TOKENS:
            raise QueryInvalid("too-long")
    return found


def meant(literal: str, *, like: bool) -> str:
    """What a text literal means; like: its wild cards stay, with `\\` before those that are meant as signs.

    Raises: QueryInvalid for an escape that these languages do not have.
    """

    def one(match: re.Match[str]) -> str:
        sign = match[1]
        if like and sign in ("%", "_", "\\"):
            return "\\" + sign
        if len(sign) == 5:
            return _spelt(chr(int(sign[1:], 16)), like=like)
        if (plain := _ESCAPES.get(sign)) is None:
            raise QueryInvalid("escape")
        return plain

    return _ESCAPE.sub(one, literal[1:-1])


def _spelt(sign: str, *, like: bool) -> str:
    if sign < " " or "\ud800" <= sign <= "\udfff":
        raise QueryInvalid("escape")
    return "\\" + sign if like and sign in "%_\\" else sign


def quoted(value: str) -> str:
    """A value as a text literal; what was put in comes out of `meant` again.

    Raises: ValueError for control signs, which no surrogate has.
    """
    if any(sign < " " or sign == "\x7f" for sign in value):
        raise ValueError("a value with control signs")
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
