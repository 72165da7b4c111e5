"""What every format says of one entry: its names, its weight, and where it stands in the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any

from audit.catalogue import class_of, tag_of
from audit.entry import decode
from audit.event_class import Weight

FAILURE_STATUS = 400
_ADMINISTRATION = frozenset({"console", "policy", "keys", "protect"})


class Severity(IntEnum):
    """Severities of RFC 5424, section 6.2.1, as far as the trail uses them."""

    ALERT = 1
    WARNING = 4
    NOTICE = 5
    INFORMATIONAL = 6


_SEVERITY: Mapping[Weight, Severity] = {
    Weight.ROUTINE: Severity.INFORMATIONAL,
    Weight.NOTICE: Severity.NOTICE,
    Weight.WARNING: Severity.WARNING,
    Weight.ALERT: Severity.ALERT,
}


@dataclass(frozen=True, slots=True)
class View:
    """One entry of the trail as it leaves for a SIEM.

    index: place in the tenant's log, from 0. leaf: RFC 6962 leaf hash, with which the copy can be proved against a
    checkpoint. body: the canonical bytes. content: the same, decoded.
    """

    index: int
    at: datetime
    leaf: bytes
    body: bytes
    content: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What kind of entry it is."""
        return str(self.content["kind"])

    @property
    def tag(self) -> str:
        """Its tag in the catalogue of events."""
        return tag_of(self.content)

    @property
    def failed(self) -> bool:
        """Whether what was tried was refused or failed."""
        return int(self.content["status"]) >= FAILURE_STATUS

    @property
    def administers(self) -> bool:
        """Whether it is about running crmgate, not about a customer's record."""
        return self.kind in _ADMINISTRATION

    @property
    def signs_in(self) -> bool:
        """Whether it is about who somebody is."""
        return self.kind == "sign-in"

    @property
    def severity(self) -> Severity:
        """How much it asks for somebody's eye."""
        listed = _SEVERITY[class_of(self.content).weight]
        if self.kind == "alarm":
            return Severity.ALERT
        if self.failed:
            return min(Severity.WARNING, listed)
        return min(Severity.NOTICE if self.administers else Severity.INFORMATIONAL, listed)

    def text(self, name: str) -> str:
        """One of its names; "" where it has none."""
        return str(self.content[name])

    @property
    def action(self) -> str:
        """What was done, as the trail names it."""
        return self.text("operation") or self.kind


def view_of(index: int, at: datetime, leaf: bytes, body: bytes) -> View:
    """The view of a stored entry; raises EntryRefused for bytes that the log could not have written."""
    return View(index, at, leaf, body, decode(body))


def filled(part: dict[str, Any]) -> dict[str, Any]:
    """Without attributes that say nothing: an empty text is not an address, nor an id."""
    kept = {key: filled(value) if isinstance(value, dict) else value for key, value in part.items()}
    return {key: value for key, value in kept.items() if value not in ("", {}, None)}
