"""The blind index on a real PostgreSQL: what is written is found by its parts, before, during and after a rotation."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.database import Pool
from kms.blind import IndexUnfinished, SearchTooWide, texts
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.provider import KeysUnavailable
from kms.store import Store
from kms.surrogate import KINDS, KindUnknown
from kms.tokens import NewValue, Origin, StoreUnavailable, SurrogateVault, VaultEntry

SECRET = b"correct horse battery staple"
T = "acme"


@pytest.fixture(scope="session")
def keyring_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keyring"
    LocalProvider.create(path, SECRET)
    return path


class Counting:
    """Monotonic seconds that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Counting:
    return Counting()


@pytest.fixture
def keyring(pool: Pool, keyring_path: Path, clock: Counting) -> Keyring:
    return Keyring(LocalProvider(keyring_path, SECRET), Store(pool), clock=clock)


@pytest.fixture
async def vault(pool: Pool, keyring: Keyring) -> AsyncIterator[SurrogateVault]:
    made = SurrogateVault(pool, keyring)
    yield made
    await made.close()


def new(kind: str, clear: str, record: str | None = "1") -> NewValue:
    return NewValue(kind, clear, Origin("contact", kind, record))


async def put(vault: SurrogateVault, *values: tuple[str, str]) -> list[str]:
    """Place values, each in a record of its own; their surrogates."""
    made = [new(kind, clear, str(number)) for number, (kind, clear) in enumerate(values, 1)]
    return await vault.tokenise(T, made, "c")


async def found(vault: SurrogateVault, kind: str, how: str, text: str) -> set[str]:
    return {one.clear for one in await vault.search(T, kind, how, text)}


async def forget_terms(pool: Pool) -> None:
    """As if everything had been placed before the index existed."""
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM vault_index")


async def test_parts_find_values_of_their_kind_and_nothing_else(vault: SurrogateVault) -> None:
    people = ["张伟", "张伟明", "李伟", "Zoé-Marie d'Arcy", "Darcy Smith"]
    await put(vault, *(("name", one) for one in people), ("phone", "139-0773-1824"), ("email", "darcy@example.com"))
    assert await found(vault, "name", "contains", "伟") == {"张伟", "张伟明", "李伟"}
    assert await found(vault, "name", "prefix", "张") == {"张伟", "张伟明"}
    assert await found(vault, "name", "suffix", "伟") == {"张伟", "李伟"}
    assert await found(vault, "name", "contains", "ARCY") == {"Zoé-Marie d'Arcy", "Darcy Smith"}
    assert await found(vault, "name", "like", "%marie%arcy") == {"Zoé-Marie d'Arcy"}
    assert await found(vault, "name", "equals", "张伟") == {"张伟"}
    assert await found(vault, "phone", "suffix", "1824") == {"139-0773-1824"}
    assert await found(vault, "phone", "contains", "7731") == {"139-0773-1824"}
    assert await found(vault, "phone", "contains", "0773-18") == {"139-0773-1824"}
    assert await found(vault, "phone", "contains", "7732") == set()
    assert await found(vault, "email", "contains", "@example") == {"darcy@example.com"}
    assert await found(vault, "email", "prefix", "Darcy") == {"darcy@example.com"}


async def test_a_false_hit_of_the_terms_does_not_count(vault: SurrogateVault) -> None:
    """ "abc" and "bcd" stand in it, "abcd" does not."""
    await put(vault, ("name", "abc bcd"))
    assert await found(vault, "name", "contains", "abcd") == set()
    assert await found(vault, "name", "contains", "bc b") == {"abc bcd"}


async def test_another_spelling_of_a_shared_value_is_found_as_it_stands(vault: SurrogateVault) -> None:
    await vault.tokenise(T, [new("phone", "13800138000", "1")], "c")
    shared = await vault.tokenise(T, [new("phone", "+86 138 0013 8000", "2")], "c")
    assert await found(vault, "phone", "prefix", "+86") == {"13800138000"}
    assert await found(vault, "phone", "prefix", "138") == {"13800138000"}
    await vault.retire_origins(T, [(shared[0], Origin("contact", "phone", "2"))])
    assert await found(vault, "phone", "prefix", "+86") == set()


async def test_a_tenant_finds_its_own_only(vault: SurrogateVault) -> None:
    await put(vault, ("name", "张伟"))
    assert await vault.search("other", "name", "contains", "张") == []


async def test_a_search_is_bounded(vault: SurrogateVault) -> None:
    await put(vault, *(("name", f"张{number:02}") for number in range(6)))
    assert len(await vault.search(T, "name", "contains", "张", 6)) == 6
    with pytest.raises(SearchTooWide):
        await vault.search(T, "name", "contains", "张", 5)


async def test_an_unknown_kind_is_a_fault(vault: SurrogateVault) -> None:
    with pytest.raises(KindUnknown):
        await vault.search(T, "shoe", "contains", "42")


async def test_nothing_is_answered_short_while_terms_are_missing(vault: SurrogateVault, pool: Pool) -> None:
    await put(vault, ("name", "张伟"), ("name", "李娜"), ("phone", "13800138000"))
    await forget_terms(pool)
    with pytest.raises(IndexUnfinished):
        await vault.search(T, "name", "contains", "张")
    first = await vault.index.fill(vault, T, "", 2)
    assert first.entries == 2
    with pytest.raises(IndexUnfinished):
        await vault.search(T, "name", "contains", "张")
    assert await vault.index.fill_all(vault, T) == 1
    assert await vault.index.fill_all(vault, T) == 0
    assert await found(vault, "name", "contains", "张") == {"张伟"}


async def test_filling_in_stopped_at_any_point_is_finished_by_the_next(vault: SurrogateVault, pool: Pool) -> None:
    await put(vault, *(("name", f"张{number}") for number in range(20)))
    await forget_terms(pool)
    for pause in (0.0, 0.002, 0.004):
        task = asyncio.create_task(vault.index.fill_all(vault, T))
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.gather(vault.index.fill_all(vault, T), vault.index.fill_all(vault, T))
    assert len(await vault.search(T, "name", "contains", "张")) == 20


async def test_what_is_missing_is_filled_in_when_the_vault_starts(vault: SurrogateVault, pool: Pool) -> None:
    await put(vault, ("name", "张伟"))
    await forget_terms(pool)
    again = SurrogateVault(pool, vault._keyring)
    try:
        await again.start(T)
        async with asyncio.timeout(60):
            while not await again.index.ready(T):
                await asyncio.sleep(0.01)
        assert await found(again, "name", "contains", "张") == {"张伟"}
    finally:
        await again.close()


async def test_a_forgotten_value_leaves_no_term(vault: SurrogateVault, pool: Pool) -> None:
    gone, _ = await put(vault, ("name", "张伟"), ("name", "张三"))
    await vault.index.forget(T, [gone])
    assert await found(vault, "name", "contains", "张") == {"张三"}
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT sum(cardinality(terms)) FROM vault_index WHERE surrogate = %s", (gone,)
        )
        assert await cursor.fetchone() == (0,)
    assert await vault.index.ready(T)


async def test_rows_hold_no_value(vault: SurrogateVault, pool: Pool) -> None:
    await put(vault, ("name", "张伟"), ("phone", "13800138000"))
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT i::text FROM vault_index i")
        text = str(await cursor.fetchall())
    assert "张" not in text
    assert "13800138" not in text


async def test_a_changed_entry_is_passed_over_and_the_rest_is_found(vault: SurrogateVault, pool: Pool) -> None:
    damaged, _ = await put(vault, ("name", "张伟"), ("name", "张三"))
    await forget_terms(pool)
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE vault SET blob = set_byte(blob, 40, get_byte(blob, 40) # 1) WHERE surrogate = %s", (damaged,)
        )
    again = SurrogateVault(pool, vault._keyring)
    assert await again.index.fill_all(again, T) == 1
    assert await found(again, "name", "contains", "张") == {"张三"}


async def test_keys_that_cannot_be_opened_end_the_search(
    vault: SurrogateVault, keyring: Keyring, clock: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(vault, ("name", "张伟"))

    async def fail(*_: object) -> bytes:
        raise RuntimeError("张伟")

    monkeypatch.setattr(keyring.provider, "unwrap", fail)
    clock.now += 10_000
    with pytest.raises(KeysUnavailable) as caught:
        await vault.search(T, "name", "contains", "张")
    assert "张" not in str(caught.value)


async def test_a_store_that_is_away_ends_the_search(vault: SurrogateVault, pool: Pool) -> None:
    await vault.start(T)
    await pool.close()
    with pytest.raises(StoreUnavailable):
        await vault.search(T, "name", "contains", "张")


def test_an_entry_is_spelled_as_its_places_are() -> None:
    origin = Origin("contact", "phone", "1")
    entry = VaultEntry("s", "phone", "1", (origin,), {("contact", "phone", "1"): "2"})
    assert texts(entry) == {"2"}
    assert texts(VaultEntry("s", "phone", "1", (), {})) == {"1"}
    assert {"phone", "name"} <= set(KINDS)
