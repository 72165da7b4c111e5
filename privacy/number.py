"""Verifies that digits at one place of a text are a phone number, a Chinese ID card or a bank card.

Pure checks: mobile blocks, area codes and grouping for China, numbering plans (`phonenumbers`) for the rest, ISO 7064
MOD 11-2 with region and birth date for ID cards (GB 11643-1999), Luhn (ISO/IEC 7812-1 annex B) with issuer ranges for
cards.
Refuses what merely looks like digits: longer runs, ids joined by dashes, decimals, amounts, path segments of URLs.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import phonenumbers

from kms.surrogate import id_check_character, luhn_digit
from policies.taxonomy import Kind

_S = r"[ ().\-]{1,3}"
_T = r"[ \-]"
# Blocks of the mobile numbering plan as in libphonenumber, and the data blocks 146, 148, 149.
_BLOCK = r"1(?:[38][0-9]|4[5-9]|[59][0-35-9]|6[25-7]|7[0-35-8])"
_NO_DATE = "(?!(?:19|20)[0-9]{2}[01][0-9][0-3][0-9])"


def _grouped(separator: str, *sizes: int) -> str:
    """Pattern of a mobile number written in groups of these sizes, the first at least 3."""
    first = f"{_BLOCK}[0-9]{{{sizes[0] - 3}}}"
    return separator.join([first, *(f"[0-9]{{{size}}}" for size in sizes[1:])])


# Only the usual 3-4-4 may have dots: other groups with dots are IP addresses and versions.
_WRITTEN = (
    _grouped("", 11),
    _grouped(_S, 3, 4, 4),
    _grouped(f"{_T}{_NO_DATE}", 3, 8),
    *(_grouped(_T, *sizes) for sizes in ((7, 4), (4, 4, 3), (4, 3, 4), (3, 3, 5), (3, 5, 3), (5, 6), (5, 3, 3))),
    rf"(?=(?:[0-9]{_T}){{10}}[0-9])1{_T}[3-9](?:{_T}[0-9]){{9}}",
)
_MOBILE = re.compile(rf"(?:(?:\+ ?\(?|00)?86(?:{_S})?)?(?:{'|'.join(_WRITTEN)})(?![0-9])")
_LANDLINE = re.compile(
    rf"(?:(?:\+|00)?86{_S})?0(?:10|2[0-9]|[3-9][0-9]{{2}})(?:\) ?|{_T})-?[2-8][0-9]{{2,3}}{_T}?[0-9]{{4}}"
    r"(?:-[0-9]{1,5})?(?![0-9])"
)
_ID_18 = re.compile(r"([1-9][0-9]{5})([ \-]?)([12][0-9]{3})([0-9]{4})\2([0-9]{3}[0-9Xx])(?![0-9])")
_ID_15 = re.compile(r"([1-9][0-9]{5})([0-9]{2})([0-9]{4})[0-9]{3}(?![0-9Xx])")
_CARD = re.compile(
    r"(?:[0-9]{15,19}|[0-9]{4}(?:[ \-])[0-9]{4}(?:[ \-])[0-9]{4}(?:[ \-])[0-9]{3,4}(?:[ \-]?[0-9]{1,3})?"
    r"|3[0-9]{3}[ \-][0-9]{6}[ \-][0-9]{5}|[0-9]{6}[ \-][0-9]{10,13})(?![0-9])"
)
# Provinces of GB/T 2260; 91 is used in residence permits.
_PROVINCE = re.compile(r"1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[123]|91")
_ISSUERS_16 = re.compile(r"4|5[1-5]|35(?:2[89]|[3-8])|62|81(?:[0-6]|7[01])|6011|64[4-9]|65")
_MASTERCARD_2 = re.compile(r"2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)")
# Domestic ranges older than 62: ICBC 9558, ABC 9559x, BOC 456351 and 601382.
_ISSUERS_19 = re.compile(r"62|9558|9559|456351|601382|81(?:[0-6]|7[01])")
_CALL_WORD = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:tel|telephone|phone|mobile|mob|cell|fax|call|ph|wechat|weixin|wx|vx|v|qq|sms|t|m|p)$",
    re.IGNORECASE,
)
_PATH_TOKEN = re.compile(r"[A-Za-z0-9._~:/?#%&=@!-]*/$")
_EXTENSION = re.compile(r"(?:x|ext\.?|#) ?[0-9]{1,6}(?![0-9A-Za-z])", re.IGNORECASE)
# Joined by a dash: an extension, or another whole number; longer chains of digits are ids.
_SHORT_TAIL = re.compile(r"[-_](?:[0-9]{1,4}(?![0-9-])|1[3-9][0-9]{9}(?![0-9-])|[^0-9]|$)")
_WHOLE_BEFORE = re.compile(r"(?<![0-9-])(?:1[3-9][0-9]{9}|[1-9][0-9]{17})[-_]$")
_SEPARATORS = re.compile(r"[^0-9Xx]")
_GROUP = re.compile(r"[0-9]+")
_GROUPS_MAX = 15  # E.164 has no more digits than that

# Surrogates (+888 7) and wire masks (+888 9) of our own: no country has this code (E.164 list of assigned codes).
_OWN = re.compile(r"(?:\+|00)" + r"[ ().\-]{0,3}".join(["", "8", "8", "8", "[79]", *["[0-9]"] * 10]) + "(?![0-9])")


@dataclass(frozen=True, slots=True)
class Number:
    """A verified number at [start, end) of a run; kind None means one of our own surrogates or masks, to be skipped."""

    kind: Kind | None
    start: int
    end: int


def match_at(run: str, start: int, before: str, after: str) -> Number | None:
    """The number that begins at `start` of an ASCII run of digits and separators; before and after surround the run."""
    first = run[start]
    if not _begins(run, start, before):
        return None
    if first == "+" or run.startswith("00", start):
        return _international(run, start, after)
    if first == "0":
        return _matched(_LANDLINE, Kind.PHONE, run, start, after)
    if first in "18" and (mobile := _matched(_MOBILE, Kind.PHONE, run, start, after)):
        return mobile
    for kind, pattern, verified in _CHECKED:
        match = pattern.match(run, start)
        if match and verified(compact(match[0])) and _ends(run, match.end(), after):
            return Number(kind, start, match.end())
    return None


def compact(text: str) -> str:
    """Digits, and the X of an ID card, without separators."""
    return _SEPARATORS.sub("", text)


def id_card_ok(text: str) -> bool:
    """Whether 18 or 15 characters are a Chinese ID number: region, birth date and, with 18, the check character.

    The province as a whole (`110000`) is no place of registration, and births before 1900 are surrogates of ours.
    """
    if len(text) == 18:
        return id_check_character(text[:17]) == text[17].upper() and _registered(text[:6], text[6:14])
    return len(text) == 15 and _registered(text[:6], "19" + text[6:12])


def bank_card_ok(digits: str) -> bool:
    """Whether digits are a payment card: a known issuer range with its length, and the Luhn digit."""
    return _issued(digits) and luhn_ok(digits)


def luhn_ok(digits: str) -> bool:
    """Whether the last digit is the Luhn digit of the others."""
    return luhn_digit(digits[:-1]) == digits[-1]


def _registered(region: str, born: str) -> bool:
    if not _PROVINCE.match(region) or region[2:] == "0000" or not "1900" <= born[:4] <= "2099":
        return False
    try:
        date(int(born[:4]), int(born[4:6]), int(born[6:]))
    except ValueError:
        return False
    return True


def _issued(digits: str) -> bool:
    length = len(digits)
    if length == 16:
        if _MASTERCARD_2.match(digits):
            return not _yymmdd(digits)  # 16-digit order numbers begin with a date
        return _ISSUERS_16.match(digits) is not None
    if length == 15:
        return digits[:2] in {"34", "37"}
    return length in {17, 18, 19} and _ISSUERS_19.match(digits) is not None


def _yymmdd(digits: str) -> bool:
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31


_CHECKED: tuple[tuple[Kind, re.Pattern[str], Callable[[str], bool]], ...] = (
    (Kind.ID_CARD, _ID_18, id_card_ok),
    (Kind.ID_CARD, _ID_15, id_card_ok),
    (Kind.BANK_CARD, _CARD, bank_card_ok),
)


def _matched(pattern: re.Pattern[str], kind: Kind, run: str, start: int, after: str) -> Number | None:
    match = pattern.match(run, start)
    if match is None or not _ends(run, match.end(), after):
        return None
    return Number(kind, start, match.end())


def _international(run: str, start: int, after: str) -> Number | None:
    """`+` or `00` and a country code: China by our own rules, the rest by the numbering plans, longest first."""
    if mobile := _matched(_MOBILE, Kind.PHONE, run, start, after):
        return mobile
    prefix = 1 if run[start] == "+" else 2
    ends = [match.end() for match in _GROUP.finditer(run, start + prefix)][:_GROUPS_MAX]
    if own := _OWN.match(run, start):
        return Number(None, start, own.end())
    if prefix == 2 and run.startswith("001", start) and run[start:].isdigit():
        return None  # zero-padded ids and bar codes
    for end in reversed(ends):
        digits = compact(run[start + prefix : end])
        if len(digits) < 7:
            break
        if len(digits) <= 15 and _ends(run, end, after) and _assigned(run[start + prefix : end]):
            return Number(Kind.PHONE, start, end)
    return None


def _assigned(number: str) -> bool:
    """Whether the numbering plan of its country knows this number, given without its plus sign."""
    digits = compact(number)
    if "(0)" not in number and digits[0] != "0":
        for size in (1, 2, 3):  # country codes are prefix-free, so this saves the costly parsing in most cases
            code = int(digits[:size])
            if code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE and digits[size] != "0":
                plain = phonenumbers.PhoneNumber(country_code=code, national_number=int(digits[size:]))
                if phonenumbers.is_valid_number(plain):
                    return True
                break
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse("+" + number.lstrip(" ()-."), None))
    except phonenumbers.NumberParseException:
        return False


def _begins(run: str, start: int, before: str) -> bool:
    """Whether a number may begin here: not inside a word, an amount, a decimal, a dashed id or the path of a URL."""
    left = before + run[:start] if start < 80 else run[start - 80 : start]
    if not left:
        return True
    last = left[-1]
    if not last.isascii():
        return last not in "￥¥€£"
    if last.isalnum():
        return last.isalpha() and _CALL_WORD.search(left[-12:]) is not None
    if last == ".":
        return left[-2:-1] not in {":", "=", ""} and not left[-2:-1].isdigit()
    if last in "-_":
        return not left[-2:-1].isdigit() or _WHOLE_BEFORE.search(left) is not None
    if last == "/":
        return _in_path(left) is False
    return last not in "$%"


def _in_path(left: str) -> bool:
    """Whether text that ends in a slash is the beginning of a URL or of an absolute path of two steps or more."""
    token = _PATH_TOKEN.search(left)
    if token is None:
        return False
    path = token[0]
    return "://" in path or "//" in path or path.count("/") > 1


def _ends(run: str, end: int, after: str) -> bool:
    """Whether a number may end here; a short extension may follow a phone (`-801`, `x12`)."""
    right = run[end : end + 24] + after if end + 24 > len(run) else run[end : end + 24]
    if not right or not right[0].isascii():
        return True
    first = right[0]
    if first.isalnum():
        return _EXTENSION.match(right) is not None
    if first == ".":
        return not right[1:2].isdigit()
    if first in "-_":
        return _SHORT_TAIL.match(right) is not None
    return first != "%"
