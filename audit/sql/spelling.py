"""The words of a statement before it is parsed: how many, how deep, what is called, and where each stands."""

from collections.abc import Iterator, Sequence

from sqlglot.dialects import DuckDB
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from audit.sql.grammar import BEFORE_BRACKET, FUNCTIONS
from audit.sql.refused import Place, StatementRefused

LENGTH_LIMIT_CHARS = 20_000
WORDS_LIMIT = 4_000
# The parser takes some twenty frames of Python for each level.
DEPTH_LIMIT = 24
_OPENS = {TokenType.L_PAREN: 1, TokenType.L_BRACKET: 1, TokenType.L_BRACE: 1, TokenType.CASE: 1}
_CLOSES = {TokenType.R_PAREN: 1, TokenType.R_BRACKET: 1, TokenType.R_BRACE: 1, TokenType.END: 1}
_PREFIXES = frozenset({TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE})
_PREFIX_LIMIT = 4
_FIRST = frozenset({"select", "with", "from", "("})
_NAMED = frozenset({TokenType.STRING, TokenType.NUMBER, TokenType.IDENTIFIER})


def read_words(text: str) -> list[Token]:
    """The tokens of a statement. Raises: StatementRefused for what could not be a query, or is too much of one."""
    if len(text) > LENGTH_LIMIT_CHARS:
        raise StatementRefused("too-long", hint=(str(LENGTH_LIMIT_CHARS),))
    if "\x00" in text:
        raise StatementRefused("unreadable", "NUL")
    try:
        words = list(DuckDB().tokenize(text))
    except TokenError:
        raise StatementRefused("unreadable") from None
    while words and words[-1].token_type is TokenType.SEMICOLON:
        words.pop()
    if not words:
        raise StatementRefused("empty")
    if len(words) > WORDS_LIMIT:
        raise StatementRefused("too-long", hint=(str(LENGTH_LIMIT_CHARS),))
    for word in words:
        if word.token_type is TokenType.SEMICOLON:
            raise StatementRefused("several-statements", ";", place_of(word))
    if words[0].text.lower() not in _FIRST or words[0].token_type in _NAMED:
        raise StatementRefused("no-query", words[0].text, place_of(words[0]))
    _measure(words)
    return words


def place_of(word: Token) -> Place:
    """Where a word begins; the tokeniser counts to its end."""
    return Place(word.line, max(1, word.col - (word.end - word.start)))


def find(words: Sequence[Token], text: str) -> Place:
    """Where a text first stands as a word."""
    wanted = text.lower()
    return next((place_of(word) for word in words if word.text.lower() == wanted), Place())


def called(words: Sequence[Token]) -> Iterator[Token]:
    """The words that stand before an opening bracket as the name of something called."""
    for place, word in enumerate(words[:-1]):
        if words[place + 1].token_type is not TokenType.L_PAREN or word.token_type in (TokenType.STRING,):
            continue
        name = word.text.lower()
        quoted = word.token_type is TokenType.IDENTIFIER
        if not quoted and (not (name[:1].isalpha() or name[:1] == "_") or name in BEFORE_BRACKET - FUNCTIONS):
            continue
        if _is_alias(words, place):
            continue
        yield word


def _is_alias(words: Sequence[Token], place: int) -> bool:
    """Whether a name with a list behind it gives columns their names: `WITH x(a, b) AS (`, `) t(a, b)`."""
    before = words[place - 1] if place else None
    if before is not None and before.token_type in (TokenType.ALIAS, TokenType.R_PAREN):
        return True
    end = place + 2
    while end < len(words) and words[end].token_type is not TokenType.R_PAREN:
        end += 1
    follows = words[end + 1 : end + 3]
    return (
        before is not None
        and before.token_type in (TokenType.WITH, TokenType.COMMA)
        and [one.token_type for one in follows] == [TokenType.ALIAS, TokenType.L_PAREN]
        and len(words) > end + 3
        and words[end + 3].text.lower() in ("select", "from", "with", "(")
    )


def _measure(words: Sequence[Token]) -> None:
    depth = prefixes = 0
    for word in words:
        depth += _OPENS.get(word.token_type, 0) - _CLOSES.get(word.token_type, 0)
        prefixes = prefixes + 1 if word.token_type in _PREFIXES else 0
        if depth > DEPTH_LIMIT or prefixes > _PREFIX_LIMIT:
            raise StatementRefused("too-deep", word.text, place_of(word))
