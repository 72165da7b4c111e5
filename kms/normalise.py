"""One spelling for equal values: what equality terms and deterministic surrogates are computed from.

Versioned: a term made under another version never compares equal, so a change of these rules is a migration and not a
silent miss. Pure; never raises on what people type, because validation happens elsewhere.
"""

import re
import unicodedata

import phonenumbers

VERSION = 1

_SPACES = re.compile(r"\s+")
_LETTER = re.compile(r"[^\W\d_]")
_NOT_DIGITS = re.compile(r"[^0-9]")
_NOT_ID = re.compile(r"[^0-9A-Z]")
_ID_15 = re.compile(r"[0-9]{15}\Z")
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def exact(clear: str) -> str:
    """NFKC, trimmed, runs of white space as one space; case is kept."""
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", clear)).strip()


def folded(clear: str) -> str:
    """`exact`, with case folded."""
    return unicodedata.normalize("NFKC", exact(clear).casefold())


def normalise(kind: str, clear: str, region: str = "CN") -> str:
    """The spelling under which two values of a kind are the same.

    E-mail: lower case, no spaces. Phone: E.164 with `region` for national numbers, extension kept. ID card: 18 signs
    (15-digit cards get their century and check character). Bank card: digits. All else: folded.
    """
    if kind == "email":
        return unicodedata.normalize("NFKC", folded(clear).replace(" ", ""))
    if kind == "phone":
        return _phone(exact(clear), region)
    if kind == "id_card":
        return _id_card(exact(clear))
    if kind == "bank_card":
        # With a letter in it, it is no number, and what differs in the letter is not the same.
        return folded(clear) if _LETTER.search(clear) else _NOT_DIGITS.sub("", exact(clear)) or folded(clear)
    return folded(clear)


def _phone(text: str, region: str) -> str:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return _NOT_DIGITS.sub("", text) or text.casefold()
    spelled = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{spelled};ext={number.extension}" if number.extension else spelled


def _id_card(text: str) -> str:
    bare = _NOT_ID.sub("", text.upper())
    if _ID_15.match(bare):
        body = f"{bare[:6]}19{bare[6:]}"
        total = sum(int(digit) * weight for digit, weight in zip(body, _ID_WEIGHTS, strict=True))
        return body + "10X98765432"[total % 11]
    return bare or text.casefold()
