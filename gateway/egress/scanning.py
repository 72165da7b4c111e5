"""The scanner of one tenant, asked for anew each time: its keys may come, go and rotate while listeners stay."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from kms.scanner import Hit, Scanner


class Scans(Protocol):
    """What this package needs of a scanner."""

    def find(self, data: bytes) -> Sequence[Hit]:
        """Surrogates in order; raises KeysUnavailable."""
        ...

    def whole(self, text: str) -> str | None:
        """The surrogate a text is, None where it is none; raises KeysUnavailable."""
        ...


class TenantScanner:
    """Looks the scanner up when it is needed, so that a tenant whose keys are away stops its own mail only."""

    def __init__(self, scanners: Mapping[str, Scanner], tenant: str) -> None:
        self._scanners, self._tenant = scanners, tenant

    def find(self, data: bytes) -> Sequence[Hit]:
        """Surrogates in order; raises KeysUnavailable."""
        return self._scanners[self._tenant].find(data)

    def whole(self, text: str) -> str | None:
        """The surrogate a text is, None where it is none; raises KeysUnavailable."""
        return self._scanners[self._tenant].whole(text)
