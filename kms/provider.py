"""Who wraps field keys: the seam between the keyring and a local file, OpenBao, Vault or an HSM.

A provider sees 32-byte field keys and contexts, never a value. It may fail, hang or answer nonsense: the keyring turns
each of that into `KeysUnavailable`, and nothing is sealed or opened without a key.
"""

from typing import Protocol


class KeysUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """The keys cannot be had now. `problem` is a stable id; the message is for operators and names no value.

    Raised by every provider and by the keyring; trying again helps once the cause is gone.
    """

    permanent = False

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class KeyringLocked(KeysUnavailable):
    """The provider answers, but its key material is closed: file missing, wrong secret, sealed server.

    Trying again does not help before an operator has acted.
    """

    permanent = True


class KeyDestroyed(KeyringLocked):
    """The key was destroyed on purpose, with the approval of two people; nothing brings it back."""

    def __init__(self, message: str) -> None:
        super().__init__("key-destroyed", message)


class KeyProvider(Protocol):
    """Wraps and unwraps field keys under a key of the tenant that never leaves the provider."""

    @property
    def name(self) -> str:
        """Short name of the provider as operators know it."""
        ...

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        """Wrap a field key; the same context is needed to unwrap it. Raises KeysUnavailable."""
        ...

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        """The field key again. Raises KeysUnavailable, also for a wrong context or a changed byte."""
        ...

    async def check(self) -> None:
        """Whether the provider can be used now. Raises KeysUnavailable or KeyringLocked with what to do."""
        ...

    async def close(self) -> None:
        """Let go of threads, connections and key material."""
        ...
