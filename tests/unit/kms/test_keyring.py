"""Field keys: made once, held for a while, and never used when the provider errs, hangs or answers nonsense."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from kms.keyring import Keyring, WrappedKey
from kms.provider import KeyringLocked, KeysUnavailable

T = "acme"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class MemoryStore:
    """Wrapped keys in a dictionary, with the rule of the table: one current key a scope and purpose."""

    def __init__(self) -> None:
        self.keys: dict[tuple[str, bytes], WrappedKey] = {}
        self.destroyed: set[str] = set()

    async def keys_for(self, tenant: str, scope: str, purpose: str) -> list[WrappedKey]:
        found = [
            key
            for key in await self.all_keys(tenant)
            if not key.destroyed and (key.scope, key.purpose) == (scope, purpose)
        ]
        return sorted(found, key=lambda key: key.retired)

    async def keys_by_id(self, tenant: str, ids: list[bytes]) -> list[WrappedKey]:
        return [key for key in await self.all_keys(tenant) if key.id in ids]

    async def all_keys(self, tenant: str) -> list[WrappedKey]:
        return [key for (of, _), key in self.keys.items() if of == tenant]

    async def tenant_destroyed(self, tenant: str) -> bool:
        return tenant in self.destroyed

    async def add_key(self, tenant: str, key: WrappedKey) -> None:
        if all(other.retired for other in await self.keys_for(tenant, key.scope, key.purpose)):
            self.keys[(tenant, key.id)] = key


class Toy:
    """A provider for tests: XOR with a hash; what it does can be replaced."""

    name = "toy"

    def __init__(self) -> None:
        self.calls = 0
        self.instead: Callable[[], Awaitable[object]] | None = None

    def _mask(self, tenant: str, context: bytes) -> bytes:
        return hashlib.sha256(tenant.encode() + context).digest()

    async def wrap(self, tenant: str, key: bytes, context: bytes) -> bytes:
        return await self._answer(key, tenant, context)

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        return await self._answer(wrapped, tenant, context)

    async def _answer(self, data: bytes, tenant: str, context: bytes) -> bytes:
        self.calls += 1
        await asyncio.sleep(0)
        if self.instead is not None:
            return await self.instead()  # type: ignore[return-value]
        return bytes(a ^ b for a, b in zip(data, self._mask(tenant, context), strict=True))

    async def check(self) -> None:
        if self.instead is not None:
            await self.instead()

    async def close(self) -> None:
        return None


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider() -> Toy:
    return Toy()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def keyring(provider: Toy, store: MemoryStore, clock: Clock) -> Keyring:
    return Keyring(provider, store, ttl_s=300, clock=clock, timeout_s=0.05)


async def test_a_key_is_made_once_and_the_same_everywhere(
    keyring: Keyring, provider: Toy, store: MemoryStore, clock: Clock
) -> None:
    key = await keyring.field_key(T, "phone", "seal")
    assert (len(key.id), len(key.secret)) == (4, 32)
    assert await keyring.field_key(T, "phone", "seal") == key
    assert await Keyring(provider, store, clock=clock).field_key(T, "phone", "seal") == key
    assert await keyring.by_id(T, {key.id, b"none"}) == {key.id: key}


async def test_tenants_scopes_and_purposes_have_keys_of_their_own(keyring: Keyring) -> None:
    places = [(T, "phone", "seal"), (T, "phone", "equal"), (T, "email", "seal"), ("other", "phone", "seal")]
    secrets = {(await keyring.field_key(*place)).secret for place in places}
    assert len(secrets) == 4


async def test_many_who_ask_at_once_cost_one_call(keyring: Keyring, provider: Toy) -> None:
    keys = await asyncio.gather(*(keyring.field_key(T, "phone", "seal") for _ in range(50)))
    assert len(set(keys)) == 1
    assert provider.calls == 2  # wrap, unwrap
    keyring.forget()
    await asyncio.gather(*(keyring.by_id(T, {keys[0].id}) for _ in range(50)))
    assert provider.calls == 3


async def test_one_who_gives_up_does_not_take_the_others_along(keyring: Keyring) -> None:
    first, second = (asyncio.ensure_future(keyring.field_key(T, "phone", "seal")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert len((await second).secret) == 32


async def test_steady_work_does_not_ask_the_provider(keyring: Keyring, provider: Toy, clock: Clock) -> None:
    await keyring.field_key(T, "phone", "seal")
    calls = provider.calls
    clock.now = 100
    for _ in range(20):
        await keyring.field_key(T, "phone", "seal")
    assert provider.calls == calls


async def test_a_key_is_opened_again_before_its_time_is_over(keyring: Keyring, provider: Toy, clock: Clock) -> None:
    key = await keyring.field_key(T, "phone", "seal")
    clock.now = 250
    assert await keyring.field_key(T, "phone", "seal") == key
    for _ in range(5):
        await asyncio.sleep(0)
    assert keyring.until(T, key.id) == 550
    clock.now = 400
    assert await keyring.field_key(T, "phone", "seal") == key


async def hang() -> bytes:
    await asyncio.sleep(60)
    return b""


async def fail() -> bytes:
    raise RuntimeError("Zhang Wei, +8613800138000")


async def deny() -> bytes:
    raise KeyringLocked("vault-sealed", "sealed")


def answer(what: object) -> Callable[[], Awaitable[object]]:
    async def work() -> object:
        return what

    return work


BROKEN = [hang, fail, deny, *map(answer, (None, b"", b"short", "text" * 8, bytes(32), 7, b"x" * 64))]


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_provider_means_no_key_after_its_time(
    keyring: Keyring, provider: Toy, clock: Clock, broken: Callable[[], Awaitable[object]]
) -> None:
    key = await keyring.field_key(T, "phone", "seal")
    provider.instead = broken
    clock.now = 299
    assert await keyring.field_key(T, "phone", "seal") == key
    clock.now = 301
    for work in (keyring.field_key(T, "phone", "seal"), keyring.by_id(T, {key.id})):
        with pytest.raises(KeysUnavailable) as caught:
            await work
        assert "138" not in str(caught.value)
        assert caught.value.__cause__ is None
    provider.instead = None
    assert await keyring.field_key(T, "phone", "seal") == key


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_provider_makes_no_key(
    keyring: Keyring, provider: Toy, store: MemoryStore, broken: Callable[[], Awaitable[object]]
) -> None:
    provider.instead = broken
    with pytest.raises(KeysUnavailable):
        await keyring.field_key(T, "phone", "seal")


async def test_a_key_in_the_clear_is_never_stored(keyring: Keyring, provider: Toy, store: MemoryStore) -> None:
    async def echo(tenant: str, key: bytes, context: bytes) -> bytes:
        return b"wrapped:" + key

    provider.wrap = echo  # type: ignore[method-assign]
    with pytest.raises(KeysUnavailable):
        await keyring.field_key(T, "phone", "seal")
    assert store.keys == {}


@pytest.mark.parametrize("part", ["wrapped", "commitment", "scope", "purpose", "id"])
async def test_a_changed_row_gives_no_key(keyring: Keyring, store: MemoryStore, part: str) -> None:
    key = await keyring.field_key(T, "phone", "seal")
    row = store.keys.pop((T, key.id))
    old = getattr(row, part)
    other: Any = "other" if isinstance(old, str) else bytes([old[0] ^ 1]) + old[1:]
    changed = replace(row, **{part: other})
    store.keys[(T, changed.id)] = changed
    keyring.forget()
    with pytest.raises(KeysUnavailable):
        await keyring.field_key(T, changed.scope, changed.purpose)


async def test_another_provider_is_told_apart(keyring: Keyring, store: MemoryStore, provider: Toy) -> None:
    await keyring.field_key(T, "phone", "seal")
    keyring.forget()
    provider.name = "another"
    with pytest.raises(KeysUnavailable, match="wrapped by the provider 'toy'"):
        await keyring.field_key(T, "phone", "seal")


async def test_old_keys_stay_usable_beside_the_current_one(keyring: Keyring, store: MemoryStore) -> None:
    old = await keyring.field_key(T, "phone", "equal")
    store.keys[(T, old.id)] = replace(store.keys[(T, old.id)], retired=True)
    keyring.forget()
    keys = await keyring.field_keys(T, "phone", "equal")
    assert keys[1:] == (old,)
    assert keys[0] != old


async def test_status_names_keys_and_ages_but_no_secret(keyring: Keyring, provider: Toy) -> None:
    key = await keyring.field_key(T, "phone", "seal")
    status = await keyring.status(T)
    assert (status.provider, status.problem) == ("toy", "")
    assert [(one.id, one.scope, one.purpose, one.in_memory) for one in status.keys] == [
        (key.id.hex(), "phone", "seal", True)
    ]
    assert 0 <= status.keys[0].age_s < 60
    assert repr(key.secret) not in repr(status)
    provider.instead = deny
    assert (await keyring.status(T)).problem == "vault-sealed"


async def test_closing_forgets(keyring: Keyring) -> None:
    key = await keyring.field_key(T, "phone", "seal")
    await keyring.close()
    assert keyring.until(T, key.id) == 0
