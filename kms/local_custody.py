"""Custody of the local keyring: setting a tenant's key aside and destroying it by writing the file anew.

A new file stands complete on disk before it takes the old one's name, and only after every stored key of the other
tenants was seen to open with it. The old content is then overwritten where it stood; what file systems and copies
elsewhere keep of it cannot be reached from here, and a copy of the old file with its passphrase still opens everything.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.exceptions import InvalidTag

from kms.custody import CustodyRefused, RootKey, RootState, Wrapped
from kms.local import LocalProvider, Roots, opened, write_new


class LocalCustody:
    """The keys in a local keyring file; tenants: names whose keys are kept although nothing is stored under them."""

    def __init__(self, provider: LocalProvider, tenants: Sequence[str] = ()) -> None:
        self._provider = provider
        self._tenants = tuple(tenants)

    async def describe(self, tenant: str) -> RootKey:
        """The key of a tenant."""
        roots = await self._provider.roots()
        state = RootState.LIVE
        if tenant in roots.destroyed:
            state = RootState.DESTROYED
        elif tenant in roots.suspended:
            state = RootState.SUSPENDED
        former = roots.former.get(tenant, ())
        oldest = next((number for number, key in enumerate(former, 1) if key), len(former) + 1)
        return RootKey(str(self._provider.path), state, len(former) + 1, oldest, "local", derived=False)

    async def import_key(self, tenant: str, key: bytes, *, rotatable: bool) -> RootKey:
        """Refused: a customer's key belongs into a server that does not give it out again."""
        message = 'the local keyring makes its own keys; a customer\'s key can be imported with provider = "openbao"'
        raise CustodyRefused("key-local", message)

    async def suspend(self, tenant: str) -> bool:
        """Note in the file that the key must not be used."""
        await self._rewrite(lambda roots: replace(roots, suspended=roots.suspended | {tenant}), [])
        return True

    async def restore(self, tenant: str) -> None:
        """Take the note away."""
        await self._rewrite(lambda roots: replace(roots, suspended=roots.suspended - {tenant}), [])

    async def destroy(self, tenant: str, others: Sequence[Wrapped]) -> None:
        """Write the file anew without the key of a tenant."""
        names = {*self._tenants, *(one.tenant for one in others)}
        others = [one for one in others if one.tenant != tenant]
        root = self._provider.new_root()
        await self._rewrite(
            lambda roots: roots if tenant in roots.destroyed else roots.without(tenant, names, root), others
        )

    async def _rewrite(self, change: Callable[[Roots], Roots], proofs: Sequence[Wrapped]) -> None:
        path = self._provider.path
        with _alone(path):
            before = await self._provider.roots()
            after = change(before)
            if after == before:
                return
            for one in proofs:
                if _opens(before, one) and not _opens(after, one):
                    message = "a stored key of another CRM would no longer open; nothing was changed"
                    raise CustodyRefused("key-of-others", message)
            content = await asyncio.to_thread(self._provider.sealed, after)
            await asyncio.to_thread(_replace, path, content)


def _opens(roots: Roots, one: Wrapped) -> bool:
    if one.tenant in roots.destroyed:
        return False
    try:
        opened(replace(roots, suspended=frozenset()).versions(one.tenant), one.wrapped, one.context)
    except InvalidTag:
        return False
    return True


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One change of the file at a time, whichever process makes it."""
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CustodyRefused("keyring-busy", f"another command is changing {path} just now; try again") from None
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    write_new(new, content)
    with path.open("r+b") as old:  # still the old file after the rename
        size = os.fstat(old.fileno()).st_size
        new.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        old.write(os.urandom(size))
        old.flush()
        os.fsync(old.fileno())
