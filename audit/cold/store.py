"""Where the files of segments are kept: the one Protocol that the folder and S3 with object lock fulfil.

Calls block: callers use a thread. Names are relative, with `/` between parts, and made of the characters of a quoted
tenant, digits, hexadecimal digits and `.-_`.
"""

from datetime import datetime
from pathlib import Path
from typing import Protocol


class ArchiveStore(Protocol):
    """Files that are written once. Every method raises ArchiveUnavailable and ArchiveRefused."""

    def check(self) -> None:
        """See that it can be written to and keeps what it promises to keep."""
        ...

    def put(self, name: str, source: Path, sha256: str, keep_until: datetime) -> str:
        """Write a file durably; its version. The same bytes again change nothing, others are refused."""
        ...

    def fetch(self, name: str, version: str, target: Path) -> None:
        """Bring a file to `target`."""
        ...

    def local(self, name: str) -> Path | None:
        """Where it lies on this machine; None where it has to be fetched."""
        ...

    def names(self, prefix: str) -> list[str]:
        """What is there below a prefix, in order."""
        ...

    def remove(self, name: str, version: str) -> None:
        """Remove a file for good; one that is not there is removed. Refused before its time and while it is held."""
        ...

    def hold(self, name: str, version: str, held: bool) -> None:
        """Put a legal hold on a file, or lift it; none is lifted from a file that is gone."""
        ...
