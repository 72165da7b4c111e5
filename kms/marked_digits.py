"""Sealed digits that nobody can take for clear ones: their check digit is wrong on purpose. Pure.

A number with a check digit has one digit that says nothing new. FF1 seals the others, and the last digit of what comes
out is never the right one: it is the right one plus one plus the turn, so it also says in which turn the digits were
made. A clear number passes its check, a sealed one never does; so nothing has to be known about a field to tell them
apart, and no recogniser that checks takes sealed digits for a card or an identity number. Where sealed digits look like
something else (a phone number has no check digit), the next of nine turns is taken.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

from kms import fpe
from kms.envelope import Context, FieldKey
from kms.surrogate import id_check_character, luhn_digit

TURNS = 9
LEAST_DIGITS = 7
"""Six that are sealed (a million values) and the check digit."""
MOST_DIGITS = 100
ID_DIGITS = 18
_TEN = 10


class Check(StrEnum):
    """How the last character of a number follows from the digits before it."""

    LUHN = "luhn"
    """ISO/IEC 7812-1, annex B: cards, SIREN and SIRET, IMEI, national provider numbers."""
    GB11643 = "gb11643"
    """ISO 7064 MOD 11-2 as in GB 11643-1999: 18 characters, the last a digit or X."""


def is_clear(check: Check, text: str) -> bool:
    """Whether a text is a number whose check digit is right."""
    body, last = text[:-1], text[-1:]
    if not _sized(check, text) or not _digits(body):
        return False
    return _right(check, body) == last


def is_shaped(check: Check, text: str) -> bool:
    """Whether a text can be sealed digits: all digits, of a length that can be sealed, and wrong in the last one."""
    return _sized(check, text) and _digits(text) and _turn(check, text) is not None


def sealings(key: FieldKey, clear: str, context: Context, check: Check) -> Iterator[str]:
    """The digits of each turn, in order; raises DigitsRefused for what is no clear number."""
    if not is_clear(check, clear):
        raise fpe.DigitsRefused("the check digit of the number is wrong, or it is no number of this kind")
    for turn in range(TURNS):
        body = fpe.encrypt(key, clear[:-1], context, turn=turn)
        yield body + str((_number(_right(check, body)) + 1 + turn) % _TEN)


def seal(key: FieldKey, clear: str, context: Context, check: Check, taken: Callable[[str], bool]) -> str:
    """Digits that `taken` does not know as something else; raises DigitsRefused, also where nine turns give none."""
    for sealed in sealings(key, clear, context, check):
        if not taken(sealed):
            return sealed
    raise fpe.DigitsRefused("no sealed form of this number is free of meaning")


def open_(key: FieldKey, sealed: str, context: Context, check: Check) -> str:
    """What `seal` was given, if this came from it; raises DigitsRefused for what cannot have come from it."""
    turn = _turn(check, sealed) if _sized(check, sealed) and _digits(sealed) else None
    if turn is None:
        raise fpe.DigitsRefused("these are no sealed digits")
    body = fpe.decrypt(key, sealed[:-1], context, turn=turn)
    return body + _right(check, body)


def _sized(check: Check, text: str) -> bool:
    return len(text) == ID_DIGITS if check is Check.GB11643 else LEAST_DIGITS <= len(text) <= MOST_DIGITS


def _digits(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _right(check: Check, body: str) -> str:
    return id_check_character(body) if check is Check.GB11643 else luhn_digit(body)


def _number(character: str) -> int:
    return _TEN if character == "X" else int(character)


def _turn(check: Check, sealed: str) -> int | None:
    turn = (int(sealed[-1]) - _number(_right(check, sealed[:-1])) - 1) % _TEN
    return turn if turn < TURNS else None
