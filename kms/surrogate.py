"""Shapes of surrogates: making them, confirming them, and one of each kind that belongs to nobody.

A surrogate is short, valid for the field it stands in and announces itself by its shape. The shape nominates, a check
under the tenant's token key confirms (32 bits for e-mail, 24 for names and addresses, three digits for phones and
cards; an ID card has room for its own check character only), and the vault proves. The blocks are configurable,
because a customer may own a domain or a registry may assign a range. Nothing here looks anything up or draws random
numbers: serials and random bytes are arguments.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

EMAIL, PHONE, NAME, ADDRESS, ID_CARD, BANK_CARD = "email", "phone", "name", "address", "id_card", "bank_card"
KINDS = (EMAIL, PHONE, NAME, ADDRESS, ID_CARD, BANK_CARD)
DETERMINISTIC = frozenset({EMAIL, PHONE, ID_CARD, BANK_CARD})
"""Kinds whose surrogate is the same for the same normalised value everywhere in a tenant."""
SHORT_TEXT = {NAME: "Zq", ADDRESS: "Zx"}
"""Prefix of the kinds that have no shape of their own."""
RESERVED_TEXT = "a" * 14
"""What follows the prefix in the surrogate that belongs to nobody (`no_match`)."""

_ID_FIRST_DAY = date(1850, 1, 1)
_ID_DAYS = (date(1900, 1, 1) - _ID_FIRST_DAY).days
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_BASE32 = frozenset("abcdefghijklmnopqrstuvwxyz234567")

SERIALS = {PHONE: 10**7, ID_CARD: _ID_DAYS * 1000, BANK_CARD: 10**11}
"""How many serials a kind has; serial 0 is reserved for `no_match`."""
NAME_TOKEN_BYTES = 6
"""Random bytes that make a name or an address; the top two bits are dropped (46 bits stay)."""


class KindUnknown(Exception):  # noqa: N818 - the name says what is wrong
    """A kind of value that has no surrogate shape; a fault of the caller, trying again does not help."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Shapes:
    """The blocks surrogates are taken from; one set a tenant, never changed once values are stored.

    email_domain: a domain that never resolves or that the customer owns; phone_country and phone_lead: an unassigned
    E.164 country code and the first digit of the national number; id_region: a region code validators accept and
    nobody has together with a birth date before 1900; card_prefix: four digits no issuer has.
    """

    email_domain: str = "enc.invalid"
    phone_country: str = "888"
    phone_lead: str = "7"
    id_region: str = "110000"
    card_prefix: str = "9999"


SHAPES = Shapes()


def _check(key: bytes, kind: str, body: bytes) -> bytes:
    return hmac.digest(key, b"crmgate surrogate check\0" + kind.encode() + b"\0" + body, "sha256")


def _digits(key: bytes, kind: str, serial: str) -> str:
    return f"{int.from_bytes(_check(key, kind, serial.encode())[:8]) % 1000:03d}"


def email_token(key: bytes, normalised: str) -> bytes:
    """The 16-byte token of a normalised address: HMAC-SHA-256 under the token key, cut."""
    return hmac.digest(key, b"crmgate surrogate token\0email\0" + normalised.encode(), "sha256")[:16]


def make_email(key: bytes, token: bytes, shapes: Shapes = SHAPES) -> str:
    """`e.` + 32 base32 (16 bytes of token, 4 of keyed check) + `@` + domain."""
    body = token + _check(key, EMAIL, token)[:4]
    return f"e.{base64.b32encode(body).decode().lower()}@{shapes.email_domain}"


def make_phone(key: bytes, serial: int, shapes: Shapes = SHAPES) -> str:
    """`+888` + `7` + 7-digit serial + 3 digits of keyed check."""
    text = f"{serial:07d}"
    return f"+{shapes.phone_country}{shapes.phone_lead}{text}{_digits(key, PHONE, text)}"


def make_short_text(key: bytes, kind: str, token: bytes) -> str:
    """`Zq` (name) or `Zx` (address) + 14 base32: 46 bits of token and 24 of keyed check."""
    if kind not in SHORT_TEXT:
        raise KindUnknown(kind)
    number = int.from_bytes(token[:NAME_TOKEN_BYTES]) & (2**46 - 1)
    check = int.from_bytes(_check(key, kind, number.to_bytes(6))[:3])
    bits = ((number << 24 | check) << 10).to_bytes(10)
    return SHORT_TEXT[kind] + base64.b32encode(bits).decode().lower()[:14]


def make_id_card(serial: int, shapes: Shapes = SHAPES) -> str:
    """Region + birth date 1850–1899 + 3 digits + check character (GB 11643, ISO 7064 MOD 11-2)."""
    day = _ID_FIRST_DAY + timedelta(days=serial // 1000)
    body = f"{shapes.id_region}{day:%Y%m%d}{serial % 1000:03d}"
    return body + id_check_character(body)


def make_bank_card(key: bytes, serial: int, shapes: Shapes = SHAPES) -> str:
    """`9999` + 11-digit serial + 3 digits of keyed check + Luhn digit (19 digits)."""
    text = f"{serial:011d}"
    body = f"{shapes.card_prefix}{text}{_digits(key, BANK_CARD, text)}"
    return body + luhn_digit(body)


def make_serial(key: bytes, kind: str, serial: int, shapes: Shapes = SHAPES) -> str:
    """The surrogate of a kind that counts serials (phone, ID card, bank card)."""
    if kind == PHONE:
        return make_phone(key, serial, shapes)
    if kind == ID_CARD:
        return make_id_card(serial, shapes)
    if kind == BANK_CARD:
        return make_bank_card(key, serial, shapes)
    raise KindUnknown(kind)


def id_check_character(body: str) -> str:
    """Check character of 17 digits (GB 11643-1999, 4.2.4)."""
    return "10X98765432"[sum(int(digit) * weight for digit, weight in zip(body, _ID_WEIGHTS, strict=True)) % 11]


def luhn_digit(body: str) -> str:
    """Luhn digit of a digit string (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        number = int(digit) * (2 if place % 2 == 0 else 1)
        total += number - 9 if number > 9 else number
    return str(-total % 10)


def no_match(kind: str, shapes: Shapes = SHAPES) -> str:
    """The reserved surrogate of a kind: valid in shape, never given to a value, so a search for it finds nothing."""
    if kind == EMAIL:
        return f"e.{'a' * 32}@{shapes.email_domain}"
    if kind in SHORT_TEXT:
        return SHORT_TEXT[kind] + RESERVED_TEXT
    if kind == PHONE:
        return f"+{shapes.phone_country}{shapes.phone_lead}" + "0" * 10
    if kind == BANK_CARD:
        body = shapes.card_prefix + "0" * 14
        return body + luhn_digit(body)
    return make_serial(b"", kind, 0, shapes)


def confirm_email(keys: Sequence[bytes], token: str) -> bool:
    """Whether 32 lower-case base32 characters carry a check made under one of these keys."""
    try:
        body = base64.b32decode(token.upper())
    except binascii.Error:
        return False
    return any(hmac.compare_digest(_check(key, EMAIL, body[:16])[:4], body[16:]) for key in keys)


def confirm_short_text(keys: Sequence[bytes], kind: str, body: str) -> bool:
    """Whether 14 lower-case base32 characters carry a check made under one of these keys."""
    try:
        number = int.from_bytes(base64.b32decode(body.upper() + "AA")) >> 10
    except binascii.Error:
        return False
    token, check = (number >> 24).to_bytes(6), (number & 0xFFFFFF).to_bytes(3)
    return any(hmac.compare_digest(_check(key, kind, token)[:3], check) for key in keys)


def confirm_phone(keys: Sequence[bytes], digits: str) -> bool:
    """Whether 7 + 3 digits (serial, check) belong together; the reserved serial 0 never does."""
    serial = digits[:7]
    return serial != "0000000" and any(_digits(key, PHONE, serial) == digits[7:] for key in keys)


def confirm_bank_card(keys: Sequence[bytes], digits: str) -> bool:
    """Whether 19 digits pass Luhn and the keyed check; the reserved serial 0 never does."""
    serial = digits[4:15]
    if int(serial) == 0 or luhn_digit(digits[:-1]) != digits[-1]:
        return False
    return any(_digits(key, BANK_CARD, serial) == digits[15:18] for key in keys)


def confirm_id_card(text: str) -> bool:
    """Whether 18 characters are a birth date of 1850–1899 with the right check character; serial 0 never is."""
    try:
        day = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    serial = (day - _ID_FIRST_DAY).days * 1000 + int(text[14:17])
    return 0 < serial < SERIALS[ID_CARD] and id_check_character(text[:17]) == text[17]


def kind_of(surrogate: str, shapes: Shapes = SHAPES) -> str | None:
    """Kind of a canonical surrogate by its shape alone."""
    size = len(surrogate)
    if size == 16 and surrogate[:2] in ("Zq", "Zx") and _BASE32.issuperset(surrogate[2:]):
        return NAME if surrogate[1] == "q" else ADDRESS
    if surrogate.startswith("e.") and surrogate[34:] == "@" + shapes.email_domain:
        return EMAIL if _BASE32.issuperset(surrogate[2:34]) else None
    if not surrogate.isascii():
        return None
    phone = f"+{shapes.phone_country}{shapes.phone_lead}"
    if surrogate.startswith(phone) and size == len(phone) + 10 and surrogate[1:].isdigit():
        return PHONE
    if size == 18 and surrogate.startswith(shapes.id_region) and surrogate[:17].isdigit():
        return ID_CARD if surrogate[17] in "0123456789X" else None
    if size == 19 and surrogate.startswith(shapes.card_prefix) and surrogate.isdigit():
        return BANK_CARD
    return None


def confirm(keys: Sequence[bytes], surrogate: str, shapes: Shapes = SHAPES) -> str | None:
    """Kind of a canonical surrogate whose check was made under one of these keys, else None."""
    kind = kind_of(surrogate, shapes)
    if kind is None:
        return None
    if kind == EMAIL:
        right = confirm_email(keys, surrogate[2:34])
    elif kind == PHONE:
        right = confirm_phone(keys, surrogate[-10:])
    elif kind == ID_CARD:
        right = confirm_id_card(surrogate)
    elif kind == BANK_CARD:
        right = confirm_bank_card(keys, surrogate)
    else:
        right = confirm_short_text(keys, kind, surrogate[2:])
    return kind if right else None
