"""Where bytes that nobody has decoded yet could hold a personal value: one google-re2 scan over a whole body.

A place is either a shape as it is written, or an escape that could decode to a part of one (`\\u0040`, `%2B`, `&#64;`).
The promise is one-sided: a string without a place holds nothing that `privacy.recognise.find` would find after any
decoding that a browser or a program does; a place proves nothing, whoever sees one decodes and looks properly.
"""

from html.entities import html5

import re2

from privacy.recognise import AT, PLUS, SEPARATORS, SHAPES
from privacy.sieve import HAS_HYPERSCAN, Sieve

_HEX = "[0-9A-Fa-f]"
_ESCAPES = "&%#;\\"  # what begins or ends another escape counts as well: `\u0026#64;` and `%2540` are decoded twice
# UTF-16 units that are, or begin, a digit of any script, a part of a shape, or a part of another escape: the units of
# Latin letters with accents, Greek, Cyrillic, Chinese, Korean, their punctuation and emoji are left out.
_UNITS = (
    r"0(?:0[0-9ab]|[6-9a-f])|1|20(?:0|1[0-5]|2f|60)|2212|3000|a"
    r"|d8(?:[0-24-9a-f]|3[0-9abef])|d[9ab]|feff|ff(?:0[0-9abdef]|[1-9a-f])"
)
# Bytes of UTF-8 in the same way; of separators the first ones.
_BYTES = r"2[356b]|3[0-9b]|4|5[0-9ac]|6|7[0-9a]|d[9bf]|e[01af]|f"
_SEPARATOR_BYTES = r"2[089de]|c2|e[23]"
_SEPARATOR = "[" + SEPARATORS.replace("-", r"\-") + "]"


def _named(characters: str) -> str:
    """Names of the character references that stand for one of these."""
    wanted = set(characters)
    return "|".join(sorted({name.rstrip(";") for name, text in html5.items() if wanted & set(text)} - {"amp", "AMP"}))


def _alternatives() -> list[str]:
    reference = "&(?i:amp;?)*"
    return [
        SHAPES,
        rf"[{AT}][\\&%]",
        # Escapes of JSON and JavaScript; a backslash before another letter stands for that letter or for nothing.
        rf"\\(?:u(?i:{_UNITS})|u{_HEX}{{0,3}}[^0-9A-Fa-f]|[\\x\p{{Nd}}\r\n\x{{2028}}\x{{2029}}])",
        rf"{reference}(?:#|{_named(AT + PLUS + _ESCAPES)}|[A-Za-z0-9]{{0,32}}[\\%])",
        rf"%(?:(?i:{_BYTES})|{_HEX}?[\\&])",
        # Separators alone mean nothing: only after a digit or a plus sign, or another separator after it.
        rf"[\p{{Nd}}{PLUS}]{_SEPARATOR}{{0,2}}"
        rf"(?:{reference}(?:{_named(SEPARATORS)})|%(?i:{_SEPARATOR_BYTES})|\\{_SEPARATOR})",
    ]


_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_PLACES = re2.compile("|".join(_alternatives()), _OPTIONS)
# Every escape that is a place: `&` and `%` are always, so only backslashes are left.
_SIEVE = Sieve(rf"\\(?:u(?i:{_UNITS})|u{_HEX}{{0,3}}[^0-9A-Fa-f]|[^A-Za-wyz\"/])") if HAS_HYPERSCAN else None


def places(data: bytes) -> list[int]:
    """Offsets of the places of one text, in order; none reaches over a quotation mark, `=`, `<` or `>`."""
    if _SIEVE is not None and not _SIEVE.holds(data):
        return []
    return [match.start() for match in _PLACES.finditer(data)]
