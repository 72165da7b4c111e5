"""The vault on a real PostgreSQL: one surrogate a value, origins, cells, what opens and what never does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.database import Pool, open_pool
from kms.envelope import EnvelopeInvalid, Sealing, SuiteRetired
from kms.keyring import Keyring
from kms.local import LocalProvider
from kms.provider import KeysUnavailable
from kms.store import SealedEntry, Store
from kms.suites.sm4_gcm import SM4_GCM
from kms.suites.triple_des import TRIPLE_DES
from kms.surrogate import SERIALS, KindUnknown, confirm, no_match
from kms.tokens import NewValue, Origin, OriginConflict, StoreUnavailable, SurrogateSpaceFull, SurrogateVault
from tests.unit.kms.conftest import MakePersons

SECRET = b"correct horse battery staple"
T = "acme"


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Switch(LocalProvider):
    """A local provider that can be made to fail."""

    broken = False
    calls = 0

    async def unwrap(self, tenant: str, wrapped: bytes, context: bytes) -> bytes:
        self.calls += 1
        if self.broken:
            raise RuntimeError("Zhang Wei +8613800138000")
        return await super().unwrap(tenant, wrapped, context)


@pytest.fixture(scope="session")
def keyring_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keyring"
    LocalProvider.create(path, SECRET)
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(keyring_path: Path) -> Switch:
    return Switch(keyring_path, SECRET)


@pytest.fixture(params=["person keys", "field keys alone"])
async def vault(
    request: pytest.FixtureRequest, pool: Pool, provider: Switch, clock: Clock, make_persons: MakePersons
) -> AsyncIterator[SurrogateVault]:
    persons = make_persons(clock) if request.param == "person keys" else None
    made = SurrogateVault(pool, Keyring(provider, Store(pool), clock=clock), clock=clock, persons=persons)
    yield made
    await made.close()


def at(record: str | None, field: str = "phone", entity: str = "contact") -> Origin:
    return Origin(entity, field, record)


def new(kind: str, clear: str, record: str | None = "1") -> NewValue:
    return NewValue(kind, clear, at(record, kind))


async def one(vault: SurrogateVault, value: NewValue, cell: str = "c", tenant: str = T) -> str:
    return (await vault.tokenise(tenant, [value], cell))[0]


VALUES = [
    new("email", "Zhang.Wei@Example.com"),
    new("phone", "138 0013 8000"),
    new("id_card", "11010519491231002X"),
    new("bank_card", "6222 0200 0000 0000 000"),
    new("name", "张伟"),
    new("address", "北京市朝阳区建国路 1 号"),
]


async def test_every_kind_comes_back_as_it_was_written(vault: SurrogateVault) -> None:
    scanner = await vault.start(T)
    surrogates = await vault.tokenise(T, VALUES, "c")
    entries = await vault.resolve(T, surrogates)
    for value, surrogate in zip(VALUES, surrogates, strict=True):
        entry = entries[surrogate]
        assert (entry.kind, entry.clear, entry.origins) == (value.kind, value.clear, (value.origin,))
        assert scanner.whole(surrogate) == surrogate
    assert vault.cached(T, surrogates) == (entries, [])


async def test_a_tenant_seals_with_its_suite_and_old_values_still_open(
    pool: Pool, provider: Switch, clock: Clock
) -> None:
    keyring = Keyring(provider, Store(pool), clock=clock)
    sealings = [Sealing(), Sealing(SM4_GCM, committed=True), Sealing(TRIPLE_DES, legacy=True)]
    made: list[str] = []
    for number, sealing in enumerate(sealings):
        vault = SurrogateVault(pool, keyring, clock=clock, sealing=lambda tenant, now=sealing: now)
        values = [new("email", f"someone{number}@example.com"), new("name", f"张{number}")]
        made += await vault.tokenise(T, values, "c")
        made += await vault.tokenise(T, [new("email", "SOMEONE0@example.com", f"r{number}")], "c")
        entries = await vault.resolve(T, made)
        assert sorted(entries) == sorted(set(made))
        spelled = {("contact", "email", f"r{before}"): "SOMEONE0@example.com" for before in range(number + 1)}
        assert dict(entries[made[0]].spellings) == spelled  # one sealed by each suite
        await vault.close()
    assert await Store(pool).suites(T) == {0x11: 2, 0x21: 2, 0x31: 2}
    assert await Store(pool).suites("other") == {}
    refusing = SurrogateVault(pool, keyring, clock=clock, sealing=lambda tenant: Sealing(TRIPLE_DES))
    with pytest.raises(SuiteRetired):
        await refusing.tokenise(T, [new("email", "new@example.com")], "c")
    await refusing.close()


@pytest.mark.parametrize("verbatim", [(False, True), (True, False), (True, True)])
async def test_two_spellings_of_a_value_in_one_call_both_stay_as_they_are_written(
    vault: SurrogateVault, verbatim: tuple[bool, bool]
) -> None:
    spellings = ("Li@Example.org", "li@example.ORG")
    values = [
        NewValue("email", text, Origin("contact", name, "1"), verbatim=same)
        for text, name, same in zip(spellings, ("email", "notes"), verbatim, strict=True)
    ]
    made = await vault.tokenise(T, values, "x1")
    found = await vault.resolve(T, made)
    shown = [
        found[one].spellings.get(("contact", name, "1"), found[one].clear)
        for one, name in zip(made, ("email", "notes"), strict=True)
    ]
    assert shown == list(spellings)


async def test_equal_values_of_deterministic_kinds_share_a_surrogate_whatever_their_spelling(
    vault: SurrogateVault,
) -> None:
    first = await one(vault, new("phone", "139-0773-1824", "1"))
    second = await one(vault, new("phone", "008613907731824", "2"))
    assert first == second
    entry = (await vault.resolve(T, [first]))[first]
    assert entry.clear == "139-0773-1824"
    assert dict(entry.spellings) == {("contact", "phone", "2"): "008613907731824"}
    assert await one(vault, new("email", "A@B.example")) == await one(vault, new("email", "a@b.EXAMPLE"))


async def test_names_have_one_surrogate_a_record(vault: SurrogateVault) -> None:
    first = await one(vault, new("name", "张伟", "1"))
    assert await one(vault, new("name", "张伟", "1")) == first
    assert await one(vault, new("name", "张伟", "2")) != first
    assert len(set(await vault.tokenise(T, [new("name", "李娜", None), new("name", "李娜", None)], "c"))) == 2
    assert await vault.find(T, "name", "张伟") != []


async def test_the_same_value_written_by_many_at_once_gets_one_surrogate(
    dsn: str, keyring_path: Path, clock: Clock
) -> None:
    pools = [await open_pool(dsn, max_size=6) for _ in range(3)]
    vaults = [
        SurrogateVault(pool, Keyring(LocalProvider(keyring_path, SECRET), Store(pool), clock=clock), clock=clock)
        for pool in pools
    ]
    try:
        numbers = [f"+86138{n:08d}" for n in range(12)]
        rows = await asyncio.gather(
            *(
                vaults[turn % 3].tokenise(
                    T, [new("phone", number, str(turn)) for number in (numbers if turn % 2 else numbers[::-1])], "c"
                )
                for turn in range(18)
            )
        )
        straight = [row if turn % 2 else row[::-1] for turn, row in enumerate(rows)]
        assert len({tuple(row) for row in straight}) == 1
        assert len(set(straight[0])) == 12
        entry = (await vaults[0].resolve(T, [straight[0][0]]))[straight[0][0]]
        assert {origin.record for origin in entry.origins} == {str(turn) for turn in range(18)}
    finally:
        for vault in vaults:
            await vault.close()
        for pool in pools:
            await pool.close()


async def test_repeated_values_in_one_call_share_a_surrogate(vault: SurrogateVault) -> None:
    twice = await vault.tokenise(T, [new("email", "a@b.example", "1"), new("email", "A@b.example", "2")], "c")
    assert twice[0] == twice[1]
    assert len((await vault.resolve(T, twice))[twice[0]].origins) == 2


async def test_a_serial_that_is_taken_is_drawn_again(pool: Pool, provider: Switch, clock: Clock) -> None:
    draws = iter([4, 4, 4, 9])
    vault = SurrogateVault(pool, Keyring(provider, Store(pool), clock=clock), below=lambda _: next(draws))
    first, second = await one(vault, new("phone", "13800138000")), await one(vault, new("phone", "13800138001"))
    assert (first[5:12], second[5:12]) == ("0000005", "0000010")
    await vault.close()


async def test_a_used_up_block_is_an_error_and_not_a_loop(pool: Pool, provider: Switch, clock: Clock) -> None:
    vault = SurrogateVault(pool, Keyring(provider, Store(pool), clock=clock), below=lambda _: 4)
    await one(vault, new("phone", "13800138000"))
    with pytest.raises(SurrogateSpaceFull):
        await one(vault, new("phone", "13800138001"))
    await vault.close()


async def test_the_reserved_surrogate_is_never_given_away(pool: Pool, provider: Switch, clock: Clock) -> None:
    asked: list[int] = []

    def lowest(limit: int) -> int:
        asked.append(limit)
        return 0

    vault = SurrogateVault(pool, Keyring(provider, Store(pool), clock=clock), below=lowest)
    for kind, clear in (
        ("phone", "13800138000"),
        ("id_card", "11010519491231002X"),
        ("bank_card", "6222020000000000000"),
    ):
        assert await one(vault, new(kind, clear)) != no_match(kind)
    assert asked == [SERIALS[kind] - 1 for kind in ("phone", "id_card", "bank_card")]
    assert await vault.resolve(T, [no_match(kind) for kind in SERIALS]) == {}
    await vault.close()


async def test_unknown_kinds_are_refused(vault: SurrogateVault) -> None:
    with pytest.raises(KindUnknown):
        await one(vault, new("shoe_size", "44"))


async def test_an_index_only_value_has_no_origin(vault: SurrogateVault) -> None:
    surrogate = await one(vault, NewValue("email", "a@b.example", at(None), index_only=True))
    assert (await vault.resolve(T, [surrogate]))[surrogate].origins == ()
    assert await vault.find(T, "email", "A@B.example") == [surrogate]


# Origins


async def test_an_open_origin_is_bound_by_its_cell(vault: SurrogateVault) -> None:
    surrogate = await one(vault, new("phone", "13800138000", None), "cell-1")
    assert (await vault.resolve(T, [surrogate]))[surrogate].origins == (at(None),)
    await vault.bind(T, "cell-1", "contact", "42")
    await vault.bind(T, "cell-1", "contact", "42")
    assert (await vault.resolve(T, [surrogate]))[surrogate].origins == (at("42"),)


async def test_a_cell_is_bound_to_one_record_only(vault: SurrogateVault) -> None:
    surrogate = await one(vault, new("phone", "13800138000", None), "cell-1")
    await vault.bind(T, "cell-1", "contact", "42")
    with pytest.raises(OriginConflict):
        await vault.bind(T, "cell-1", "contact", "43")
    assert (await vault.resolve(T, [surrogate]))[surrogate].origins == (at("42"),)


async def test_binding_leaves_other_cells_entities_and_tenants_alone(vault: SurrogateVault) -> None:
    surrogate = await one(vault, new("phone", "13800138000", None), "cell-1")
    await vault.bind(T, "cell-2", "contact", "42")
    await vault.bind(T, "cell-1", "organisation", "42")
    await vault.bind("other", "cell-1", "contact", "42")
    assert (await vault.resolve(T, [surrogate]))[surrogate].origins == (at(None),)


async def test_binding_where_the_origin_stands_already_keeps_one(vault: SurrogateVault) -> None:
    surrogate = await one(vault, new("phone", "13800138000", "42"))
    await one(vault, new("phone", "138 0013 8000", None), "cell-1")
    await vault.bind(T, "cell-1", "contact", "42")
    entry = (await vault.resolve(T, [surrogate]))[surrogate]
    assert entry.origins == (at("42"),)
    assert dict(entry.spellings) == {("contact", "phone", "42"): "138 0013 8000"}


async def test_a_retired_origin_is_gone_and_the_entry_stays(vault: SurrogateVault) -> None:
    a, b = await one(vault, new("phone", "13800138000", "1")), await one(vault, new("phone", "13800138001", "1"))
    await vault.retire_origins(T, [(a, at("1"))])
    entries = await vault.resolve(T, [a, b])
    assert (entries[a].origins, entries[b].origins) == ((), (at("1"),))
    assert [entry.surrogate for entry in await vault.at_origin(T, "contact", "phone", "1")] == [b]
    await one(vault, new("phone", "13800138000", "1"))
    assert (await vault.resolve(T, [a]))[a].origins == (at("1"),)


async def test_a_field_holds_what_was_written_last_and_old_values_keep_their_rights(vault: SurrogateVault) -> None:
    a, b = await one(vault, new("phone", "13800138000", "1")), await one(vault, new("phone", "13800138001", "1"))
    other = await one(vault, new("phone", "13800138000", "2"))
    place = ("contact", "phone", "1")

    async def held() -> list[str]:
        return [entry.surrogate for entry in await vault.at_origin(T, *place)]

    await vault.hold(T, {place: {b}})
    assert await held() == [b]
    entries = await vault.resolve(T, [a, b])
    assert (set(entries[a].origins), entries[b].origins) == ({at("1"), at("2")}, (at("1"),))
    await vault.hold(T, {place: {a}})
    assert await held() == [a]
    await vault.hold(T, {place: set()})
    assert await held() == []
    await one(vault, new("phone", "13800138000", "1"))
    assert await held() == [a]
    await vault.hold(T, {place: set()})
    await vault.retire_origins(T, [(a, at("1")), (b, at("1"))])
    assert (await vault.resolve(T, [a]))[a].origins == (at("2"),)
    await vault.hold(T, {place: {a}})
    assert await held() == []  # what is retired for good does not come back by itself
    assert [entry.surrogate for entry in await vault.at_origin(T, "contact", "phone", "2")] == [other]


async def test_holding_makes_no_origin_and_nothing_is_nothing(vault: SurrogateVault) -> None:
    surrogate = await one(vault, new("phone", "13800138000", "1"))
    await vault.hold(T, {})
    await vault.hold(T, {("contact", "phone", "2"): {surrogate}, ("contact", "phone", ""): {surrogate}})
    assert (await vault.resolve(T, [surrogate]))[surrogate].origins == (at("1"),)


async def test_what_is_older_than_an_open_origin_of_such_a_cell_can_be_left_out(vault: SurrogateVault) -> None:
    old = await one(vault, new("phone", "13800138000", "1"))
    await one(vault, new("phone", "13800138001", None), "x.1")
    await one(vault, new("phone", "13800138002", None), "y.1")
    newer = await one(vault, new("phone", "13800138003", "1"))
    found = await vault.at_origin(T, "contact", "phone", "1", unless="x.")
    assert [entry.surrogate for entry in found] == [newer]
    assert {entry.surrogate for entry in await vault.at_origin(T, "contact", "phone", "1")} == {old, newer}
    assert len(await vault.at_origin(T, "contact", "phone", "1", unless="z.")) == 2


async def test_an_origin_can_be_added(vault: SurrogateVault) -> None:
    surrogate = await one(vault, new("phone", "13800138000", "1"))
    await vault.resolve(T, [surrogate])
    await vault.add_origin(T, surrogate, at("2", "mobile"), "c")
    await vault.add_origin(T, surrogate, at(None, "fax"), "c9")
    await vault.bind(T, "c9", "contact", "3")
    origins = (await vault.resolve(T, [surrogate]))[surrogate].origins
    assert set(origins) == {at("1"), at("2", "mobile"), at("3", "fax")}


async def test_an_origin_of_an_unknown_surrogate_is_refused(vault: SurrogateVault) -> None:
    with pytest.raises(StoreUnavailable):
        await vault.add_origin(T, "Zqaaaaaaaaaaaaaa", at("1"), "c")


# Searching


async def test_equality_search(vault: SurrogateVault) -> None:
    phone = await one(vault, new("phone", "13800138000"))
    name = await one(vault, new("name", "Zhang Wei"))
    assert await vault.find(T, "phone", "+86 138-0013-8000") == [phone]
    assert await vault.find(T, "name", "ｚｈａｎｇ  wei") == [name]
    assert await vault.find(T, "phone", "13800138001") == []
    assert await vault.find("other", "phone", "13800138000") == []
    assert await vault.find(T, "email", "13800138000") == []


async def test_known_names_are_found_in_exactly_their_case(vault: SurrogateVault) -> None:
    name = await one(vault, new("name", "Rose"))
    assert await vault.find_known(T, "name", ["Rose", "rose", "ROSE", "Tulip"]) == {"Rose": [name]}
    assert await vault.find_known(T, "name", []) == {}


async def test_an_alias_finds_the_value(vault: SurrogateVault) -> None:
    name = await one(vault, new("name", "张"))
    await vault.index_aliases(T, "name", [("张伟", name)])
    assert await vault.find(T, "name", "张伟") == [name]
    assert await vault.find_known(T, "name", ["张伟", "王伟"]) == {"张伟": [name]}


async def test_searches_are_bounded(vault: SurrogateVault) -> None:
    await vault.tokenise(T, [new("name", "张伟", str(n)) for n in range(230)], "c")
    assert len(await vault.find(T, "name", "张伟")) == 200


async def test_a_cut_surrogate_is_completed_when_only_one_fits(vault: SurrogateVault) -> None:
    scanner = await vault.start(T)
    email, name = await vault.tokenise(T, [new("email", "a@b.example"), new("name", "Ann")], "c")
    cut = scanner.find_truncated(f"{email[:12]}… and {name[:11].upper()}...".encode())
    assert await vault.complete(T, [part.prefix for part in cut]) == {email[:12]: email, name[:11]: name}
    assert await vault.complete(T, ["e.", "Zqaaaaaaaa"]) == {"e.": email}


# What must not open


async def test_another_tenant_sees_nothing(vault: SurrogateVault, pool: Pool, clock: Clock) -> None:
    surrogates = await vault.tokenise(T, VALUES, "c")
    await vault.start("other")
    assert await vault.resolve("other", surrogates) == {}
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO vault SELECT 'other', surrogate, kind, deterministic, equal_term, equal_key, normaliser,"
            " seal_key, blob FROM vault"
        )
        await connection.execute(
            "INSERT INTO kms_key SELECT 'other', id, scope || '2', purpose, provider, wrapped, commitment"
            " FROM kms_key WHERE tenant = 'acme'"
        )
    clock.now += 10
    clock.now += 10
    with pytest.raises(KeysUnavailable):
        await vault.resolve("other", [*surrogates, "x"])


@pytest.mark.parametrize("column", ["surrogate", "kind", "blob"])
async def test_a_changed_entry_never_opens(vault: SurrogateVault, pool: Pool, column: str) -> None:
    surrogate, other = await vault.tokenise(T, [NewValue("name", n, at("1", "a"), index_only=True) for n in "ab"], "c")
    statement = {
        "surrogate": "UPDATE vault SET surrogate = 'Zqb' WHERE surrogate = %s",
        "kind": "UPDATE vault SET kind = 'address' WHERE surrogate = %s",
        "blob": "UPDATE vault SET blob = set_byte(blob, 20, get_byte(blob, 20) # 1) WHERE surrogate = %s",
    }[column]
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM vault_term")
        await connection.execute("DELETE FROM vault_index")
        await connection.execute("ALTER TABLE vault_wrap DROP CONSTRAINT vault_wrap_tenant_surrogate_fkey")
        await connection.execute(statement, (surrogate,))
        if column == "surrogate":
            await connection.execute("UPDATE vault_wrap SET surrogate = 'Zqb' WHERE surrogate = %s", (surrogate,))
    assert set(await vault.resolve(T, [surrogate, "Zqb", other])) == {other}
    assert vault.damaged == 1


async def test_two_entries_with_swapped_values_never_open(vault: SurrogateVault, pool: Pool) -> None:
    a, b = await vault.tokenise(T, [new("email", "a@b.example"), new("email", "b@b.example")], "c")
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE vault v SET blob = o.blob FROM vault o WHERE v.surrogate <> o.surrogate AND v.tenant = o.tenant"
        )
    assert await vault.resolve(T, [a, b]) == {}
    with pytest.raises(EnvelopeInvalid) as caught:
        await one(vault, new("email", "a@b.example", "9"))
    assert "example" not in str(caught.value)


async def test_no_value_stands_in_the_store(vault: SurrogateVault, pool: Pool) -> None:
    await vault.tokenise(T, VALUES, "c")
    await one(vault, new("phone", "+86 138 0013 8000", "7"))
    async with pool.connection() as connection:
        dump = ""
        for table in ("vault", "vault_origin", "vault_term", "vault_holder", "vault_wrap", "kms_key"):
            cursor = await connection.execute(f"SELECT t::text, convert_from('\\x', 'UTF8') FROM {table} t")
            dump += repr(await cursor.fetchall())
    for value in VALUES:
        for spelling in (value.clear, value.clear.replace(" ", ""), value.clear.lower()):
            assert spelling not in dump
            assert spelling.encode().hex() not in dump


async def test_values_do_not_show_in_reprs(vault: SurrogateVault) -> None:
    surrogate = await one(vault, VALUES[0])
    entry = (await vault.resolve(T, [surrogate]))[surrogate]
    assert "xample" not in repr((entry, VALUES[0]))


# Failing closed


async def test_without_keys_nothing_opens_once_their_time_is_over(
    vault: SurrogateVault, provider: Switch, clock: Clock
) -> None:
    surrogate = await one(vault, new("phone", "13800138000"))
    await vault.resolve(T, [surrogate])
    provider.broken = True
    clock.now += 250
    assert (await vault.resolve(T, [surrogate]))[surrogate].clear == "13800138000"
    clock.now += 60
    assert vault.cached(T, [surrogate]) == ({}, [surrogate])
    with pytest.raises(KeysUnavailable) as caught:
        await vault.resolve(T, [surrogate])
    assert "138" not in str(caught.value)
    for work in (
        vault.tokenise(T, [new("phone", "13900139000")], "c"),
        vault.find(T, "phone", "13900139000"),
        vault.find_known(T, "name", ["Ann"]),
    ):
        with pytest.raises(KeysUnavailable) as caught:
            await work
        assert "139" not in str(caught.value)
    provider.broken = False
    assert (await vault.resolve(T, [surrogate]))[surrogate].clear == "13800138000"


async def test_an_unknown_surrogate_needs_no_key_and_is_remembered_for_a_moment(
    vault: SurrogateVault, provider: Switch, clock: Clock
) -> None:
    provider.broken = True
    assert await vault.resolve(T, ["Zqaaaaaaaaaaaaaa"]) == {}
    assert vault.cached(T, ["Zqaaaaaaaaaaaaaa"]) == ({}, [])
    clock.now += 3
    assert vault.cached(T, ["Zqaaaaaaaaaaaaaa"]) == ({}, ["Zqaaaaaaaaaaaaaa"])


async def test_a_store_that_is_gone_is_said_so(vault: SurrogateVault, pool: Pool) -> None:
    await vault.start(T)
    await pool.close()
    for work in (
        vault.tokenise(T, [new("phone", "13800138000")], "c"),
        vault.resolve(T, ["Zqaaaaaaaaaaaaaa"]),
        vault.bind(T, "c", "contact", "1"),
        vault.find(T, "phone", "13800138000"),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            await work
        assert "138" not in str(caught.value)
        assert caught.value.__cause__ is None


# Between processes


async def test_another_process_hears_of_a_bound_origin(dsn: str, keyring_path: Path) -> None:
    clock = Clock()
    pools = [await open_pool(dsn, max_size=4) for _ in range(2)]
    vaults = [
        SurrogateVault(pool, Keyring(LocalProvider(keyring_path, SECRET), Store(pool), clock=clock), clock=clock)
        for pool in pools
    ]
    here, there = vaults
    try:
        for vault in vaults:
            await vault.start(T)
        await asyncio.sleep(0.2)
        surrogate = await one(here, new("phone", "13800138000", None), "cell")
        assert (await there.resolve(T, [surrogate]))[surrogate].origins == (at(None),)
        await here.bind(T, "cell", "contact", "42")
        async with asyncio.timeout(60):
            while there.cached(T, [surrogate])[0]:
                await asyncio.sleep(0.01)
        assert (await there.resolve(T, [surrogate]))[surrogate].origins == (at("42"),)
    finally:
        for vault in vaults:
            await vault.close()
        for pool in pools:
            await pool.close()


async def test_without_notices_origins_are_read_again_within_seconds(
    vault: SurrogateVault, pool: Pool, clock: Clock
) -> None:
    surrogate = await one(vault, new("phone", "13800138000", None))
    await vault.resolve(T, [surrogate])
    async with pool.connection() as connection:
        await connection.execute("UPDATE vault_origin SET record = '5'")
    assert vault.cached(T, [surrogate])[0][surrogate].origins == (at(None),)
    clock.now += 5.1
    assert (await vault.resolve(T, [surrogate]))[surrogate].origins == (at("5"),)


async def test_what_did_not_change_stays_the_same_object_when_it_is_read_again(
    vault: SurrogateVault, clock: Clock
) -> None:
    surrogate = await one(vault, new("phone", "13800138000"))
    first = (await vault.resolve(T, [surrogate]))[surrogate]
    clock.now += 5.1
    assert vault.cached(T, [surrogate]) == ({}, [surrogate])
    assert (await vault.resolve(T, [surrogate]))[surrogate] is first
    await vault.add_origin(T, surrogate, at("2"), "c")
    assert (await vault.resolve(T, [surrogate]))[surrogate] is not first


async def test_exchanges_that_need_the_same_entries_at_once_read_the_store_once(
    vault: SurrogateVault, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    surrogates = await vault.tokenise(T, VALUES, "c")
    asked: list[list[str]] = []
    entries = vault._store.entries

    async def counted(tenant: str, wanted: Sequence[str]) -> dict[str, SealedEntry]:
        asked.append(list(wanted))
        return await entries(tenant, wanted)

    monkeypatch.setattr(vault._store, "entries", counted)
    answers = await asyncio.gather(*(vault.resolve(T, surrogates[number % 3 :]) for number in range(8)))
    assert [set(answer) for answer in answers] == [set(surrogates[number % 3 :]) for number in range(8)]
    assert sorted(one for wanted in asked for one in wanted) == sorted(surrogates)


async def test_a_reader_that_fails_or_goes_away_takes_nobody_with_it(
    vault: SurrogateVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    surrogate = await one(vault, new("phone", "13800138000"))
    entries = vault._store.entries
    calls = 0

    async def fails_once(tenant: str, wanted: Sequence[str]) -> dict[str, SealedEntry]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if calls == 1:
            raise StoreUnavailable("down")
        return await entries(tenant, wanted)

    monkeypatch.setattr(vault._store, "entries", fails_once)
    first, second = await asyncio.gather(
        vault.resolve(T, [surrogate]), vault.resolve(T, [surrogate]), return_exceptions=True
    )
    assert isinstance(first, StoreUnavailable)
    assert isinstance(second, dict)
    assert set(second) == {surrogate}


async def test_what_was_changed_while_it_was_read_is_read_again(
    vault: SurrogateVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    surrogate = await one(vault, new("phone", "13800138000"))
    entries = vault._store.entries
    read, changed = asyncio.Event(), asyncio.Event()

    async def slow(tenant: str, wanted: Sequence[str]) -> dict[str, SealedEntry]:
        rows = await entries(tenant, wanted)
        read.set()
        await changed.wait()
        return rows

    monkeypatch.setattr(vault._store, "entries", slow)
    early = asyncio.create_task(vault.resolve(T, [surrogate]))
    await read.wait()
    await vault.add_origin(T, surrogate, at("2"), "c")
    late = asyncio.create_task(vault.resolve(T, [surrogate]))
    await asyncio.sleep(0)
    changed.set()
    await early
    assert len((await late)[surrogate].origins) == 2


async def test_every_surrogate_passes_its_keyed_check(vault: SurrogateVault) -> None:
    scanner = await vault.start(T)
    surrogates = await vault.tokenise(T, VALUES, "c")
    assert [confirm(scanner._keys, surrogate) for surrogate in surrogates] == [value.kind for value in VALUES]
