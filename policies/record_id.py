"""Record ids: the shapes CRMs use, and the one spelling under which a record is known here.

Only what has the shape that a profile declares counts as an id, so that no other text of an exchange can reach the
audit trail or the vault as one.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum

_DIGITS = frozenset("0123456789")
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_HEX24 = re.compile(r"[0-9a-fA-F]{24}")
# Three signs of the record type, two of the server, a reserved one, nine of the record, then three that tell the case.
_SALESFORCE = re.compile(r"[0-9a-zA-Z]{15}(?:[A-Z0-5]{3})?")
_CASE_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


class RecordIds(StrEnum):
    """Shapes of the record ids of a CRM; a profile has one for all its records."""

    NUMBER = "number"
    UUID = "uuid"
    HEX24 = "hex24"
    SALESFORCE = "salesforce"

    def canonical(self, text: str) -> str | None:
        """The one spelling of a record id, or None for what is none of this shape."""
        return _CANONICAL[self](text)


def _number(text: str) -> str | None:
    """ASCII digits only: Python's `isdecimal` would also take other scripts' digits, which no CRM means."""
    return text if 0 < len(text) <= 20 and _DIGITS.issuperset(text) else None


def _uuid(text: str) -> str | None:
    """CRMs read either case of hexadecimal digits and write one."""
    return text.lower() if _UUID.fullmatch(text) else None


def _hex24(text: str) -> str | None:
    return text.lower() if _HEX24.fullmatch(text) else None


def _salesforce(text: str) -> str | None:
    """The 18-sign spelling: the short one is read, too, and its last three signs follow from the case of the others."""
    if not _SALESFORCE.fullmatch(text):
        return None
    short = text[:15]
    full = short + "".join(_case_sign(short[at : at + 5]) for at in (0, 5, 10))
    return full if text in (short, full) else None


def _case_sign(five: str) -> str:
    return _CASE_SIGNS[sum(1 << at for at, sign in enumerate(five) if "A" <= sign <= "Z")]


_CANONICAL: Mapping[RecordIds, Callable[[str], str | None]] = {
    RecordIds.NUMBER: _number,
    RecordIds.UUID: _uuid,
    RecordIds.HEX24: _hex24,
    RecordIds.SALESFORCE: _salesforce,
}
