"""What an operator does to the key a provider wraps with: look at it, bring a customer's own, set it aside, destroy it.

Never part of a request. A provider that keeps such keys has a custody beside it (`local_custody`, `vault_custody`); all
of them keep to one contract (tests/contract/test_custody.py).
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

KEY_BYTES = 32
"""AES-256."""

_TEXT = re.compile(rb"[A-Za-z0-9+/=\s]+")


class CustodyRefused(Exception):  # noqa: N818 - an outcome the operator reads
    """What was asked for cannot be done with this key; `problem` is a stable id, the text says why and what to do."""

    permanent = True

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class RootState(StrEnum):
    """What there is of a tenant's key."""

    ABSENT = "absent"
    LIVE = "live"
    SUSPENDED = "suspended"
    DESTROYED = "destroyed"


@dataclass(frozen=True, slots=True)
class RootKey:
    """The key of a tenant as an operator may see it.

    newest: version that wraps; oldest: the oldest version that still opens; origin: server, imported or kept by its
    owner; derived: whether each field key gets a derived key of its own.
    """

    name: str
    state: RootState
    newest: int = 0
    oldest: int = 0
    origin: str = "server"
    derived: bool = True


class Wrapped(NamedTuple):
    """A stored field key, to prove with that it still opens: whose, its bytes, what it is bound to."""

    tenant: str
    wrapped: bytes
    context: bytes


class KeyCustody(Protocol):
    """The keys of one provider. Every method raises KeysUnavailable; those that change raise CustodyRefused."""

    async def describe(self, tenant: str) -> RootKey:
        """The key of a tenant."""
        ...

    async def import_key(self, tenant: str, key: bytes, *, rotatable: bool) -> RootKey:
        """Make a customer's key (32 bytes) the tenant's key, or its next version.

        rotatable: the server may add versions of its own later; then no further version can be imported.
        """
        ...

    async def suspend(self, tenant: str) -> bool:
        """Set the key aside until `restore`: nothing is wrapped or opened with it. False: cannot be done here."""
        ...

    async def restore(self, tenant: str) -> None:
        """Undo `suspend`."""
        ...

    async def destroy(self, tenant: str, others: Sequence[Wrapped]) -> None:
        """Make the key of a tenant unusable for ever; doing it again changes nothing.

        others: field keys of all other tenants; nothing is changed unless each that opens before opens afterwards.
        """
        ...


def read_key(data: bytes) -> bytes:
    """A key from a file's content: 32 bytes as they are, 64 hexadecimal digits, or base64. Raises CustodyRefused."""
    text = data.strip()
    if len(data) == KEY_BYTES and not _TEXT.fullmatch(data):  # that would be half a key in digits
        return data
    for decode in (bytes.fromhex, _base64):
        try:
            key = decode(text.decode("ascii"))
        except (ValueError, binascii.Error):
            continue
        if len(key) == KEY_BYTES:
            return key
    message = "the file holds no AES-256 key: 32 bytes, 64 hexadecimal digits or base64 of 32 bytes are understood"
    raise CustodyRefused("key-file-unfit", message)


def _base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
