"""Scanners of tenants: one whose keys are away keeps nobody else from starting, and comes when its keys come."""

import asyncio
from typing import cast

import pytest

from gateway.scanners import Scanners
from kms.provider import KeyDestroyed, KeysUnavailable
from kms.scanner import Scanner
from kms.store import StoreUnavailable


class Vault:
    """Starts a tenant, or raises what is set for it."""

    def __init__(self, **faults: Exception) -> None:
        self.faults = faults
        self.asked: list[str] = []

    async def start(self, tenant: str) -> Scanner:
        self.asked.append(tenant)
        if tenant in self.faults:
            raise self.faults[tenant]
        return cast("Scanner", f"scanner of {tenant}")


async def test_a_tenant_without_keys_is_refused_and_the_others_work() -> None:
    scanners = Scanners(Vault(a=KeysUnavailable("vault-sealed", "sealed")), ["a", "b"])
    await scanners.start()
    assert scanners["b"] == "scanner of b"  # type: ignore[comparison-overlap]
    with pytest.raises(KeysUnavailable) as caught:
        scanners["a"]
    assert caught.value.problem == "vault-sealed"
    assert list(scanners) == ["b"]
    await scanners.close()


async def test_a_tenant_starts_when_its_keys_come_back() -> None:
    vault = Vault(a=KeysUnavailable("vault-sealed", "sealed"))
    scanners = Scanners(vault, ["a", "b"], retry_s=0.01)
    await scanners.start()
    vault.faults["a"] = StoreUnavailable("away")
    while vault.asked.count("a") < 3:
        await asyncio.sleep(0.01)
    del vault.faults["a"]
    while "a" not in list(scanners):
        await asyncio.sleep(0.01)
    assert scanners["a"] == "scanner of a"  # type: ignore[comparison-overlap]
    await scanners.close()


async def test_nothing_starts_when_no_tenant_can() -> None:
    scanners = Scanners(Vault(a=KeyDestroyed("gone")), ["a"])
    with pytest.raises(KeysUnavailable):
        await scanners.start()
    await scanners.close()


async def test_a_store_that_fails_at_the_start_stops_it() -> None:
    with pytest.raises(StoreUnavailable):
        await Scanners(Vault(a=StoreUnavailable("away")), ["a"]).start()


async def test_an_unknown_tenant_is_no_tenant() -> None:
    scanners = Scanners(Vault(), ["a"])
    await scanners.start()
    with pytest.raises(KeyError):
        scanners["b"]
