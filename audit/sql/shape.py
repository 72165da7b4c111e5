"""What a statement asks, as words without literals and given names, so that it can stand in the trail.

A literal or a name that an auditor made up may be somebody's name. What is left are keywords, operators, functions,
tables and columns. Operators are spelled out, because entries of the trail hold no angle brackets.
"""

from sqlglot import exp
from sqlglot.dialects import DuckDB
from sqlglot.tokenizer_core import TokenType

from audit.sql.grammar import BEFORE_BRACKET, COLUMNS, FUNCTIONS, RENDERED, TABLES

WORDS_LIMIT = 400
_SPELLED = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "<>": "ne", "!=": "ne", "@": "at-sign", "\\": "backslash"}
_UNITS = frozenset(
    {"YEAR", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "QUARTER", "ALL", "ROWS", "PRECEDING", "FOLLOWING"}
)
_LITERALS = frozenset({TokenType.STRING, TokenType.NUMBER, TokenType.HEX_STRING, TokenType.BIT_STRING})
_KNOWN = TABLES.keys() | COLUMNS | FUNCTIONS | RENDERED | BEFORE_BRACKET | {"current", "row", "zone", "time"}


def shape_of(tree: exp.Expr) -> tuple[str, ...]:
    """The words, "?" for a literal, "n1", "n2"… for names that are not the trail's."""
    own: dict[str, str] = {}
    words: list[str] = []
    for token in DuckDB().tokenize(tree.sql("duckdb", comments=False)):
        text = token.text.lower()
        if token.token_type in _LITERALS:
            words.append("?")
        elif token.token_type in (TokenType.VAR, TokenType.IDENTIFIER):
            known = text in _KNOWN or (token.token_type is TokenType.VAR and text.upper() in _UNITS)
            words.append(text if known else own.setdefault(text, f"n{len(own) + 1}"))
        elif text.isalpha() and not text.isascii():
            words.append("?")
        else:
            words += _SPELLED.get(text, text).split()
    return tuple(words[:WORDS_LIMIT])
