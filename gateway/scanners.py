"""The scanner of each tenant, started when its keys can be had.

One tenant whose keys are away, set aside or destroyed does not keep the others from starting: asking for its scanner is
`KeysUnavailable`, which refuses the exchange, and it is tried again until its keys are there.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from audit.beside import end
from kms.provider import KeysUnavailable
from kms.scanner import Scanner
from kms.store import StoreUnavailable

RETRY_S = 5.0


class Starting(Protocol):
    """What makes a scanner (kms.tokens.SurrogateVault)."""

    async def start(self, tenant: str) -> Scanner:
        """Load or make the keys of a tenant; raises KeysUnavailable, StoreUnavailable."""
        ...


class Scanners(Mapping[str, Scanner]):
    """Scanners by tenant; retry_s: between two attempts for those that are missing."""

    def __init__(self, vault: Starting, tenants: Sequence[str], *, retry_s: float = RETRY_S) -> None:
        self._vault = vault
        self._retry_s = retry_s
        self._ready: dict[str, Scanner] = {}
        self._missing: dict[str, KeysUnavailable] = {
            name: KeysUnavailable("keys-not-started", "the keys of this CRM were not opened yet") for name in tenants
        }
        self._trying: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start those that can be; raises KeysUnavailable when none can, StoreUnavailable."""
        await self._try()
        if self._missing and not self._ready:
            raise next(iter(self._missing.values()))
        if self._missing:
            self._trying = asyncio.create_task(self._try_again(), name="scanners")

    async def close(self) -> None:
        """Stop trying."""
        if self._trying is not None:
            await end(self._trying)

    def __getitem__(self, tenant: str) -> Scanner:
        """The scanner of a tenant. Raises KeysUnavailable while its keys are away, KeyError for an unknown name."""
        found = self._ready.get(tenant)
        if found is not None:
            return found
        fault = self._missing[tenant]
        raise KeysUnavailable(fault.problem, str(fault))

    def __iter__(self) -> Iterator[str]:
        return iter(self._ready)

    def __len__(self) -> int:
        return len(self._ready)

    async def _try(self) -> None:
        for tenant in list(self._missing):
            try:
                scanner = await self._vault.start(tenant)
            except KeysUnavailable as fault:
                self._missing[tenant] = fault
            else:
                self._ready[tenant] = scanner
                del self._missing[tenant]

    async def _try_again(self) -> None:
        while self._missing:
            await asyncio.sleep(self._retry_s)
            with contextlib.suppress(StoreUnavailable):
                await self._try()
