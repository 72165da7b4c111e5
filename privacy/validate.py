"""Refuses values that the CRM's own validator would refuse, because behind the gateway it sees only surrogates.

Checked before a value is tokenised: length, characters that no one-line field holds, and syntax where CRMs check it.
Everything else passes unchanged, hostile values too (`<img src=x onerror=…>`, formulas, bidi overrides): they are data,
stored as they are and made harmless where they are rendered. A refusal never repeats the value.
"""

import re
import unicodedata
from collections.abc import Callable

from policies.taxonomy import Kind
from privacy import email
from privacy.number import compact, id_card_ok, luhn_ok

PHONE_DIGITS_MIN, PHONE_DIGITS_MAX = 3, 25  # short codes; two numbers in one field; 30 are refused by real CRMs

_TEXTS = {
    "too-long": "The value is too long for this field.",
    "control-character": "The value contains control characters.",
    "newline": "This field takes one line only.",
    "lone-surrogate": "The value is not valid Unicode text.",
    "email-syntax": "This is not a valid e-mail address.",
    "email-local-too-long": "The part before the @ has more than 64 characters.",
    "email-domain": "The part behind the @ is not a valid domain.",
    "phone-characters": "A phone number may hold digits, spaces and + - . ( ) / and an extension.",
    "phone-digits": "This phone number has too few or too many digits.",
    "id-characters": "An ID number may hold letters, digits, spaces and - . / ( ).",
    "id-check": "This ID number is not valid.",
    "card-characters": "A card number may hold letters, digits, spaces and dashes.",
    "card-check": "This card number is not valid.",
}
PROBLEMS = frozenset(_TEXTS)
# Values that every column can hold, but that are not what their field is for.
ODD_SHAPES = frozenset(one for one in PROBLEMS if one.partition("-")[0] in ("email", "phone", "id", "card"))


class ValueRefused(Exception):  # noqa: N818 - a decision about input, not a fault
    """The value cannot be taken; problem is a stable id of PROBLEMS, the message never holds any part of the value."""

    permanent = True

    def __init__(self, problem: str) -> None:
        super().__init__(_TEXTS[problem])
        self.problem = problem


_ONE_LINE = frozenset({Kind.NAME, Kind.EMAIL, Kind.PHONE, Kind.ID_CARD, Kind.BANK_CARD})
_NEWLINE = re.compile("[\n\r\v\f\x85\u2028\u2029]")
# Tab may stay: browsers let it through and CRMs store it. U+FFFE and U+FFFF cannot be written in XML or XLSX.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PHONE = re.compile(
    r"[0-9 +\-.()/,;*#\t]*(?:(?:ext?\.?|x|extension|int\.?|poste|转|轉|分机|內線)[0-9 +\-.()/,;*#]*)?", re.IGNORECASE
)
_ID = re.compile(r"[A-Z0-9 \-./()]*", re.IGNORECASE)
_CARD = re.compile(r"[A-Z0-9 \-]*", re.IGNORECASE)


def check(kind: str | None, clear: str, max_chars: int, *, strict: bool = False) -> None:
    """Raise ValueRefused when a value of this kind may not be stored; kind None is free text, "" is always accepted.

    max_chars: code points, the limit of the CRM's own column; 0 or less means none. strict: also require a real number
    (check character of ID cards, Luhn digit of cards, 7 to 15 digits of phones).
    """
    if 0 < max_chars < len(clear):
        raise ValueRefused("too-long")
    if clear.isascii() and clear.isprintable():
        pass  # the common case: nothing of what follows can be in it
    elif _SURROGATE.search(clear):
        raise ValueRefused("lone-surrogate")
    elif _CONTROL.search(clear):
        raise ValueRefused("control-character")
    elif kind in _ONE_LINE and _NEWLINE.search(clear):
        raise ValueRefused("newline")
    trimmed = clear.strip()
    shape = _SHAPES.get(kind) if kind and trimmed else None
    problem = shape(trimmed, strict) if shape else None
    if problem:
        raise ValueRefused(problem)


def _email_problem(clear: str, strict: bool) -> str | None:
    return email.problem(clear)


def _phone_problem(clear: str, strict: bool) -> str | None:
    text = _folded(clear)
    if not _PHONE.fullmatch(text):
        return "phone-characters"
    digits = sum(map(str.isdigit, text))
    low, high = (7, 20) if strict else (PHONE_DIGITS_MIN, PHONE_DIGITS_MAX)  # strict: E.164 and an extension
    return None if low <= digits <= high else "phone-digits"


def _id_problem(clear: str, strict: bool) -> str | None:
    text = _folded(clear)
    if not _ID.fullmatch(text):
        return "id-characters"
    return "id-check" if strict and not _chinese_id(compact(text)) else None


def _chinese_id(text: str) -> bool:
    return re.fullmatch("[0-9]{15}|[0-9]{17}[0-9Xx]", text) is not None and id_card_ok(text)


def _card_problem(clear: str, strict: bool) -> str | None:
    text = _folded(clear)
    if not _CARD.fullmatch(text):
        return "card-characters"
    digits = re.sub("[ -]", "", text)
    return "card-check" if strict and not (re.fullmatch("[0-9]{12,19}", digits) and luhn_ok(digits)) else None


_SHAPES: dict[str, Callable[[str, bool], str | None]] = {
    Kind.EMAIL: _email_problem,
    Kind.PHONE: _phone_problem,
    Kind.ID_CARD: _id_problem,
    Kind.BANK_CARD: _card_problem,
}

_LOOKS = (
    {ord(c): "-" for c in "\u2010\u2011\u2012\u2013\u2014\u2212"}
    | {0x3001: ","}
    | dict.fromkeys(
        map(
            ord,
            "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u00ad",
        )
    )
)


def _folded(text: str) -> str:
    """Full-width forms, digits of other scripts, dashes and invisible marks of copied numbers, in ASCII."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text).translate(_LOOKS)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else " " if c.isspace() else c for c in folded)
