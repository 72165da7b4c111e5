"""Destruction of keys: two people, a wait, and what opens before and after; on a real PostgreSQL."""

import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from gateway.database import Pool
from kms.beside import Beside
from kms.cell_store import CellStore
from kms.cells import Cells
from kms.custody import CustodyRefused, RootKey, RootState, Wrapped
from kms.destruction import WHOLE_TENANT, DestructionRefused, Destructions, Person, State
from kms.destruction_store import DestructionStore
from kms.envelope import Sealing
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.local_custody import LocalCustody
from kms.provider import KeyDestroyed, KeysUnavailable
from kms.rotation import Rotation
from kms.store import Store
from kms.tokens import NewValue, Origin, SurrogateVault

T, OTHER = "acme", "other"
MA, SUN, LI = Person("u1", "ma"), Person("u2", "sun"), Person("u3", "li")
WAIT = timedelta(days=7)
SECRET = b"correct horse battery staple"


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 26, tzinfo=UTC)
    s: float = 0.0

    def wall(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.s

    def later(self, by: timedelta) -> None:
        self.now += by
        self.s += by.total_seconds()


@dataclass
class Site:
    """Two tenants over one local keyring."""

    pool: Pool
    clock: Clock
    store: DestructionStore
    provider: LocalProvider
    steps: Destructions
    vaults: list[SurrogateVault] = field(default_factory=list)

    def vault(self) -> SurrogateVault:
        """A process of its own."""
        keyring = Keyring(self.provider, Store(self.pool), clock=self.clock.monotonic)
        made = SurrogateVault(self.pool, keyring, clock=self.clock.monotonic)
        self.vaults.append(made)
        return made

    async def approved(self, scope: str) -> str:
        await self.steps.request(T, "d1", scope, MA)
        await self.steps.approve(T, "d1", SUN)
        return "d1"

    async def destroyed(self, scope: str) -> list[bytes]:
        number = await self.approved(scope)
        self.clock.later(WAIT)
        begun = await self.steps.begin(T, number)
        gone = await self.steps.execute(begun)
        await self.steps.finish(begun, "record")
        return gone


@pytest.fixture
async def site(pool: Pool, tmp_path: Path) -> AsyncIterator[Site]:
    provider = LocalProvider.create(tmp_path / "keyring", SECRET)
    clock, store = Clock(), DestructionStore(pool)
    steps = Destructions(store, LocalCustody(provider, [T, OTHER]), "local", wait=WAIT, clock=clock.wall)
    made = Site(pool, clock, store, provider, steps)
    yield made
    for vault in made.vaults:
        await vault.close()


async def written(vault: SurrogateVault, tenant: str, kind: str, clear: str, record: str = "1") -> str:
    (surrogate,) = await vault.tokenise(tenant, [NewValue(kind, clear, Origin("contact", kind, record))], "c")
    return surrogate


async def refused(step: object) -> str:
    with pytest.raises((DestructionRefused, CustodyRefused)) as caught:
        await step  # type: ignore[misc]
    assert caught.value.permanent
    return caught.value.problem  # type: ignore[no-any-return,attr-defined]


async def test_the_person_who_asked_cannot_approve(site: Site) -> None:
    await written(site.vault(), T, "phone", "13800138000")
    await site.steps.request(T, "d1", "phone", MA)
    assert await refused(site.steps.approve(T, "d1", MA)) == "same-person"
    assert (await site.steps.approve(T, "d1", SUN)).state is State.APPROVED
    assert await refused(site.steps.approve(T, "d1", LI)) == "destruction-state"


async def test_the_table_itself_refuses_one_person_as_both(site: Site) -> None:
    await site.steps.request(T, "d1", WHOLE_TENANT, MA)
    for change in ("approved_by = requested_by", "state = 'executing'"):
        with pytest.raises(psycopg.errors.CheckViolation):
            async with site.pool.connection() as connection:
                await connection.execute(f"UPDATE kms_destruction SET {change} WHERE id = 'd1'")


async def test_nothing_is_executed_before_the_wait_is_over_or_without_approval(site: Site) -> None:
    await written(site.vault(), T, "phone", "13800138000")
    await site.steps.request(T, "d1", "phone", MA)
    site.clock.later(WAIT * 2)
    assert await refused(site.steps.begin(T, "d1")) == "destruction-state"
    await site.steps.approve(T, "d1", SUN)
    site.clock.later(WAIT - timedelta(seconds=1))
    assert await refused(site.steps.begin(T, "d1")) == "destruction-waits"
    assert await site.store.due(T, site.clock.now) == []
    site.clock.later(timedelta(seconds=1))
    assert await site.store.due(T, site.clock.now) == ["d1"]
    assert (await site.steps.begin(T, "d1")).state is State.EXECUTING


@pytest.mark.parametrize("scope", ["phone", WHOLE_TENANT])
async def test_what_is_cancelled_opens_as_before_and_can_be_asked_for_again(site: Site, scope: str) -> None:
    surrogate = await written(site.vault(), T, "phone", "13800138000")
    number = await site.approved(scope)
    assert (await site.steps.find(T, number)).suspended is (scope == WHOLE_TENANT)
    if scope == WHOLE_TENANT:
        with pytest.raises(KeysUnavailable):
            await site.vault().resolve(T, [surrogate])
    assert (await site.steps.cancel(T, number, LI)).state is State.CANCELLED
    assert await refused(site.steps.cancel(T, number, LI)) == "destruction-state"
    site.clock.later(WAIT)
    assert await refused(site.steps.begin(T, number)) == "destruction-state"
    vault = site.vault()
    assert (await vault.resolve(T, [surrogate]))[surrogate].clear == "13800138000"
    assert await vault.find(T, "phone", "13800138000") == [surrogate]
    assert await written(vault, T, "phone", "13800138000", "2") == surrogate  # still one surrogate a value
    await site.steps.request(T, "d2", scope, MA)


async def test_what_is_executing_cannot_be_taken_back(site: Site) -> None:
    number = await site.approved(WHOLE_TENANT)
    site.clock.later(WAIT)
    await site.steps.begin(T, number)
    assert await refused(site.steps.cancel(T, number, LI)) == "destruction-state"


async def test_one_destruction_of_the_same_keys_at_a_time(site: Site) -> None:
    await written(site.vault(), T, "phone", "13800138000")
    await site.steps.request(T, "d1", "phone", MA)
    assert await refused(site.steps.request(T, "d2", "phone", SUN)) == "destruction-open"
    await site.steps.request(T, "d3", WHOLE_TENANT, SUN)


async def test_keys_that_everything_rests_on_are_destroyed_with_the_tenant_only(site: Site) -> None:
    await written(site.vault(), T, "phone", "13800138000")
    assert await refused(site.steps.request(T, "d1", "surrogate", MA)) == "scope-kept"
    assert await refused(site.steps.request(T, "d1", "gateway.access", MA)) == "scope-kept"
    assert await refused(site.steps.request(T, "d1", "fax", MA)) == "scope-unknown"
    assert await refused(site.steps.approve(T, "none", MA)) == "destruction-unknown"
    assert await refused(site.steps.approve(OTHER, "d1", MA)) == "destruction-unknown"


async def test_values_of_a_destroyed_field_stay_surrogates_and_everything_else_goes_on(site: Site) -> None:
    vault = site.vault()
    phone = await written(vault, T, "phone", "13800138000")
    email = await written(vault, T, "email", "li@example.org")
    theirs = await written(vault, OTHER, "phone", "13900139000")
    every = {key.id for key in await Store(site.pool).all_keys(T) if key.scope == "phone"}
    gone = await site.destroyed("phone")
    assert set(gone) == every  # of every purpose
    for one in (vault, site.vault()):  # a process that ran all the time, and a new one
        scanner = await one.start(T)
        assert scanner.whole(phone) == phone  # still known as a surrogate
        opened = await one.resolve(T, [phone, email])
        assert set(opened) == {email}
        assert opened[email].clear == "li@example.org"
        assert one.damaged == 0
        assert (await one.resolve(OTHER, [theirs]))[theirs].clear == "13900139000"
        assert await one.find(T, "phone", "13800138000") == []
        assert [entry.surrogate for entry in await one.at_origin(T, "contact", "phone", "1")] == []
    async with site.pool.connection() as connection:
        cursor = await connection.execute("SELECT wrapped, commitment FROM kms_key WHERE id = ANY(%s)", (gone,))
        assert await cursor.fetchall() == [(b"", b"")] * len(gone)


async def test_a_value_written_after_the_approval_survives_the_execution(site: Site) -> None:
    """A running process that still held the old key as current would seal values nobody can ever open."""
    vault = site.vault()
    await written(vault, T, "phone", "13800138000")
    await site.approved("phone")
    site.clock.later(timedelta(hours=1))  # the least wait there is; opened keys live for minutes
    fresh = await written(vault, T, "phone", "13811138111", "2")
    site.clock.later(WAIT)
    begun = await site.steps.begin(T, "d1")
    await site.steps.execute(begun)
    site.clock.later(timedelta(hours=1))
    for one in (vault, site.vault()):
        assert (await one.resolve(T, [fresh]))[fresh].clear == "13811138111"
    assert (await site.vault().resolve(T, [await written(vault, T, "phone", "13822138222", "3")])) != {}


async def test_a_rotation_meanwhile_saves_nothing_from_an_approved_destruction(site: Site) -> None:
    """Sealed anew under the next key, values would outlive the keys that a signed record says are gone."""
    vault = site.vault()
    phone = await written(vault, T, "phone", "13800138000")
    name = await written(vault, T, "name", "Li Wei")
    await vault.index_aliases(T, "name", [("Wei Li", name)])
    for number, scope in enumerate(["phone", "name"]):
        await site.steps.request(T, f"d{number}", scope, MA)
        await site.steps.approve(T, f"d{number}", SUN)
    again = await written(vault, T, "phone", "138 0013 8000", "2")  # writing an equal value renews it otherwise
    assert again == phone
    keyring = Keyring(site.provider, Store(site.pool), clock=site.clock.monotonic)
    rotation = Rotation(Store(site.pool), keyring, os.urandom)
    for kind in ("phone", "name"):
        for purpose in ("seal", "equal"):
            old = (await keyring.field_key(T, kind, purpose)).id
            assert await rotation.switch(T, kind, purpose, old)
            await rotation.renew(T, kind, purpose, "", 100)
    site.clock.later(WAIT)
    for number in range(2):
        await site.steps.execute(await site.steps.begin(T, f"d{number}"))
    fresh = site.vault()
    assert await fresh.resolve(T, [phone, name]) == {}
    for kind, clear in (("phone", "13800138000"), ("name", "Li Wei"), ("name", "Wei Li")):
        assert await fresh.find(T, kind, clear) == []
    live = {key.id for key in await Store(site.pool).all_keys(T) if not key.destroyed}
    async with site.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT substring(blob FROM 2 FOR 4) FROM vault UNION ALL"
            " SELECT substring(alias FROM 2 FOR 4) FROM vault_term WHERE alias IS NOT NULL"
        )
        assert not {bytes(one) for (one,) in await cursor.fetchall()} & live
    for purpose in ("seal", "equal"):  # and a rotation afterwards goes on
        assert (await rotation.renew(T, "phone", purpose, "", 100)).changed == 0


async def test_from_the_approval_on_nothing_is_written_under_the_old_key(site: Site) -> None:
    vault = site.vault()
    await written(vault, T, "phone", "13800138000")
    old = {key.id for key in await Store(site.pool).all_keys(T) if key.scope == "phone"}
    await site.approved("phone")
    fresh = await written(vault, T, "phone", "13811138111", "2")  # at once, by a process that holds the old key
    async with site.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT substring(blob FROM 2 FOR 4) FROM vault WHERE surrogate = %s", (fresh,)
        )
        row = await cursor.fetchone()
    assert row is not None
    assert bytes(row[0]) not in old


async def test_a_destroyed_tenant_answers_key_destroyed_for_ever_and_the_others_go_on(site: Site) -> None:
    vault = site.vault()
    mine = await written(vault, T, "phone", "13800138000")
    theirs = await written(vault, OTHER, "phone", "13900139000")
    await site.destroyed(WHOLE_TENANT)
    for one in (vault, site.vault()):
        assert await one.resolve(T, [mine]) == {}
        for attempt in (
            written(one, T, "phone", "13700137000"),
            written(one, T, "email", "x@example.org"),
            one.start(T),
        ):
            with pytest.raises(KeyDestroyed) as caught:
                await attempt
            assert (caught.value.problem, caught.value.permanent) == ("key-destroyed", True)
        assert (await one.resolve(OTHER, [theirs]))[theirs].clear == "13900139000"
        assert (await one.start(OTHER)).whole(theirs) == theirs


async def test_a_sealed_value_outside_the_vault_says_that_its_key_was_destroyed(site: Site) -> None:
    keyring = Keyring(site.provider, Store(site.pool), clock=site.clock.monotonic)
    key = await keyring.field_key(T, "phone", "seal")
    await site.destroyed("phone")
    with pytest.raises(KeyDestroyed):
        await keyring.by_id(T, {key.id})
    gone: set[bytes] = set()
    assert await keyring.by_id(T, {key.id}, gone) == {}
    assert gone == {key.id}
    assert next(one for one in (await keyring.status(T)).keys if one.id == key.id.hex()).destroyed


async def test_cells_dates_and_digits_of_a_destroyed_field_stay_as_the_crm_has_them(site: Site) -> None:
    keyring = Keyring(site.provider, Store(site.pool), clock=site.clock.monotonic)
    cells = Cells(CellStore(site.pool), keyring, lambda _: Sealing())
    beside = Beside(CellStore(site.pool), keyring, lambda _: Sealing())
    (text,) = await cells.seal(T, "contact", "note", [("a note", "1")])
    (other,) = await cells.seal(T, "contact", "remark", [("a remark", "1")])
    await beside.keep(T, "contact", "birthday", date(1976, 2, 29), record="1", cell="")
    for number, scope in enumerate(["cell/contact/note", "beside/contact/birthday"]):
        assert scope in await site.store.scopes(T)
        await site.steps.request(T, f"d{number}", scope, MA)
        await site.steps.approve(T, f"d{number}", SUN)
    site.clock.later(WAIT)
    for number in range(2):
        await site.steps.execute(await site.steps.begin(T, f"d{number}"))
    assert await cells.open(T, "contact", "note", [(text, "1")]) == [None]
    assert await cells.open(T, "contact", "remark", [(other, "1")]) == ["a remark"]
    assert await beside.read(T, "contact", "birthday", ["1"]) == {}
    assert (cells.damaged, beside.damaged) == (0, 0)
    (fresh,) = await cells.seal(T, "contact", "note", [("a new note", "1")])
    assert await cells.open(T, "contact", "note", [(fresh, "1"), (text, "1")]) == ["a new note", None]


class Failing:
    """A custody that fails at a step the first time."""

    def __init__(self, custody: LocalCustody) -> None:
        self._custody = custody
        self.failed = False

    async def describe(self, tenant: str) -> RootKey:
        return await self._custody.describe(tenant)

    async def import_key(self, tenant: str, key: bytes, *, rotatable: bool) -> RootKey:
        raise AssertionError

    async def suspend(self, tenant: str) -> bool:
        return False

    async def restore(self, tenant: str) -> None:
        raise AssertionError

    async def destroy(self, tenant: str, others: Sequence[Wrapped]) -> None:
        await self._custody.destroy(tenant, others)
        if not self.failed:
            self.failed = True
            raise KeysUnavailable("vault-slow", "away after the deed")


async def test_an_execution_that_broke_off_is_finished_by_the_next(site: Site) -> None:
    vault = site.vault()
    mine = await written(vault, T, "phone", "13800138000")
    custody = Failing(LocalCustody(site.provider, [T, OTHER]))
    steps = Destructions(site.store, custody, "local", wait=WAIT, clock=site.clock.wall)
    await steps.request(T, "d1", WHOLE_TENANT, MA)
    assert not (await steps.approve(T, "d1", SUN)).suspended  # this provider cannot set aside
    site.clock.later(WAIT)
    with pytest.raises(KeysUnavailable):
        await steps.execute(await steps.begin(T, "d1"))
    assert (await steps.find(T, "d1")).state is State.EXECUTING
    assert await site.store.due(T, site.clock.now) == ["d1"]
    begun = await steps.begin(T, "d1")
    assert await steps.execute(begun)
    assert (await steps.finish(begun, "record")).record == "record"
    assert await refused(steps.finish(begun, "another")) == "destruction-state"
    assert (await custody.describe(T)).state is RootState.DESTROYED
    assert await site.vault().resolve(T, [mine]) == {}
