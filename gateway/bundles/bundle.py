"""A stored bundle and its life: draft, proposed, published, retired; what it says never changes."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

INSTALLATION = "installation"
"""Who published what the file of the settings says, before any account published something."""


class State(StrEnum):
    """Where a bundle is in its life."""

    DRAFT = "draft"
    PROPOSED = "proposed"
    PUBLISHED = "published"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Act:
    """Who did a step, and when. by: id of the account."""

    by: str
    login: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Wording:
    """What somebody drafts. restores: number of the earlier bundle this one says again."""

    rows: str
    checks: str
    version: str
    note: str
    restores: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 over rows and checks, hexadecimal."""
        return digest_of(self.rows, self.checks)


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """One row. origin: "installation" or "account"; version: what the audit trail names decisions by."""

    tenant: str
    number: int
    state: State
    origin: str
    rows: str
    checks: str
    version: str
    digest: str
    note: str
    restores: int | None
    drafted: Act
    proposed: Act | None
    published: Act | None
    retired_at: datetime | None

    @property
    def whole(self) -> bool:
        """Whether rows and checks are what was stored."""
        return digest_of(self.rows, self.checks) == self.digest


@dataclass(frozen=True, slots=True)
class Mark:
    """Which bundle is in force, without its text."""

    number: int
    digest: str


def digest_of(rows: str, checks: str) -> str:
    """SHA-256 over both texts, each with its length before it."""
    parts = (text.encode("utf-8", "surrogatepass") for text in (rows, checks))
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()
