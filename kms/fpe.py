"""FF1: digits become other digits of the same length (NIST SP 800-38G), for fields whose shape forces it.

FF1 with AES-256 only; FF3-1 was withdrawn (SP 800-38G rev. 1, second draft of February 2025) and is not reachable from
here. The domain has at least 10^6 values: at least six decimal digits. The tweak is tenant, entity and field, each with
its length, so equal digits of two fields differ.
What it cannot do, and what a profile that chooses it accepts: it announces nothing, so it is found by profile only; it
is deterministic, so equality shows; it cannot be shredded, so it is erased by overwriting; it is not authenticated, so
any digits decrypt to something. A mark is kept in the gateway's store for that, and a value is only shown after it was
compared; see kms.digits for the storage form. Never for phones (the result can be a stranger's number), PINs, ages or
short codes.
"""

import hmac

from fastfpe import ff1

from kms.envelope import Context, FieldKey

DIGITS = "0123456789"
LEAST_DOMAIN = 10**6
"""SP 800-38G rev. 1, second draft, 5: radix^length is at least one million."""
MOST_CHARACTERS = 256
MARK_BYTES = 16


class DigitsRefused(ValueError):  # noqa: N818 - names what happened
    """A value FF1 may not or cannot take; the text says why and never repeats the value."""

    permanent = True


def encrypt(key: FieldKey, clear: str, context: Context, alphabet: str = DIGITS, *, turn: int | None = None) -> str:
    """Characters of the alphabet, as many as were given; record and cell of the context take no part.

    turn: goes into the tweak, so that each turn gives other digits. Raises DigitsRefused.
    """
    check(clear, alphabet)
    return str(ff1.encrypt(_cipher_key(key), _tweak(context, turn), alphabet, clear))


def decrypt(key: FieldKey, sealed: str, context: Context, alphabet: str = DIGITS, *, turn: int | None = None) -> str:
    """What `encrypt` was given, if this came from it: nothing here can tell. Raises DigitsRefused."""
    check(sealed, alphabet)
    return str(ff1.decrypt(_cipher_key(key), _tweak(context, turn), alphabet, sealed))


def mark_of(key: FieldKey, sealed: str, context: Context) -> bytes:
    """16 bytes of HMAC-SHA-256 over place and sealed digits: what the store remembers of digits that were made."""
    data = _lengths(context.tenant, context.application, context.entity, context.field, sealed)
    return hmac.digest(_derived(key, b"G1 ff1 mark"), data, "sha256")[:MARK_BYTES]


def check(text: str, alphabet: str = DIGITS) -> None:
    """Whether FF1 may take a text; raises DigitsRefused."""
    radix = len(set(alphabet))
    if radix != len(alphabet) or not 2 <= radix <= 2**16:
        raise DigitsRefused("an FF1 alphabet has 2 to 65536 different characters")
    if not set(alphabet).issuperset(text):
        raise DigitsRefused("the value has characters outside the alphabet of its field")
    if len(text) < 2 or radix ** min(len(text), 20) < LEAST_DOMAIN:
        raise DigitsRefused("the value is too short: FF1 needs a million possible values, so at least six digits")
    if len(text) > MOST_CHARACTERS:
        raise DigitsRefused(f"the value is longer than {MOST_CHARACTERS} characters")


def _cipher_key(key: FieldKey) -> str:
    return _derived(key, b"G1 ff1 key").hex()


def _derived(key: FieldKey, label: bytes) -> bytes:
    """One block of HKDF-Expand (RFC 5869, 2.3): cipher and checksum never share a key with anything."""
    if len(key.secret) != 32:
        raise ValueError("FF1 takes a 32-byte field key: AES-256 only")
    return hmac.digest(key.secret, label + b"\x01", "sha256")


def _tweak(context: Context, turn: int | None) -> str:
    more = () if turn is None else (str(turn),)
    return _lengths(context.tenant, context.entity, context.field, *more).hex()


def _lengths(*texts: str) -> bytes:
    parts: list[bytes] = []
    for text in texts:
        part = text.encode()
        parts += (len(part).to_bytes(4), part)
    return b"".join(parts)
