"""Values with their original type: to bytes for an envelope, and back again as what they were.

Text, integers, decimals, dates, truth values and JSON come back equal and of the same type. What has no such form is
refused: null (it is never sealed, a ciphertext would count as filled), a date with a time (seal its text), decimals and
numbers that are not finite. Floats, lists and objects are JSON.
"""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from kms.envelope import (
    DEFAULT,
    TYPE_BOOLEAN,
    TYPE_DATE,
    TYPE_DECIMAL,
    TYPE_INTEGER,
    TYPE_JSON,
    TYPE_TEXT,
    Context,
    EnvelopeInvalid,
    FieldKey,
    Sealing,
    open_typed,
    seal,
)

Value = str | int | Decimal | date | bool | float | list[object] | dict[str, object]
_MOST_DIGITS = 4000  # Python refuses to read longer integers (CVE-2020-10735)


class ValueRefused(ValueError):  # noqa: N818 - names what happened
    """A value that cannot be sealed with its type; the text names the type, never the value."""

    permanent = True


def seal_value(
    key: FieldKey,
    value: Value,
    context: Context,
    nonce: bytes,
    *,
    pad_to: int = 0,
    sealing: Sealing = DEFAULT,
    held: bool = False,
) -> bytes:
    """Seal a value with its type, held: under a key derived with a value key; raises ValueRefused, SuiteRetired."""
    kind, data = encoded(value)
    return seal(key, data, context, nonce, pad_to=pad_to, kind=kind, sealing=sealing, held=held)


def open_value(keys: Mapping[bytes, FieldKey], blob: bytes, context: Context, *, held: bool = False) -> Value:
    """The value again; raises EnvelopeInvalid."""
    kind, data = open_typed(keys, blob, context, held=held)
    try:
        return decoded(kind, data)
    except (ValueError, InvalidOperation, RecursionError):
        raise EnvelopeInvalid from None


def encoded(value: object) -> tuple[int, bytes]:
    """Type number and bytes; raises ValueRefused."""
    if isinstance(value, str):
        return TYPE_TEXT, value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool):
        return TYPE_BOOLEAN, b"1" if value else b"0"
    if isinstance(value, int):
        if value.bit_length() > _MOST_DIGITS * 3:
            raise ValueRefused("an integer is too long")
        return TYPE_INTEGER, b"%d" % value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueRefused("a decimal that is not finite cannot be sealed")
        return TYPE_DECIMAL, str(value).encode()
    if isinstance(value, date) and not isinstance(value, datetime):
        return TYPE_DATE, value.isoformat().encode()
    if isinstance(value, (dict, list)) or (isinstance(value, float) and math.isfinite(value)):
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError):
            raise ValueRefused("this is no JSON") from None
        return TYPE_JSON, text.encode("utf-8", "surrogatepass")
    raise ValueRefused(f"a value of type {type(value).__name__} cannot be sealed")


def decoded(kind: int, data: bytes) -> Value:
    """The value of a type number and bytes; raises ValueError, InvalidOperation for what `encoded` never makes."""
    text = data.decode("utf-8", "surrogatepass")
    value: Value
    if kind == TYPE_TEXT:
        return text
    if kind == TYPE_BOOLEAN:
        value = text == "1"
    elif kind == TYPE_INTEGER:
        value = int(text)
    elif kind == TYPE_DECIMAL:
        value = Decimal(text)
    elif kind == TYPE_DATE:
        value = date.fromisoformat(text)
    else:
        value = json.loads(text)
    # Whoever sealed it wrote it in one way only; "٣" or "1_0" would read as integers, too.
    if kind != TYPE_JSON and encoded(value) != (kind, data):
        raise ValueError("not the one spelling")
    return value
