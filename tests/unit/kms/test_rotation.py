"""Rotation of field keys on a real PostgreSQL: nothing lost or done twice, search and uniqueness right meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.database import Pool
from kms.drafts import KindKeys
from kms.local import LocalProvider
from kms.provider import KeysUnavailable
from kms.rotation import End, Renewed
from kms.rotation_store import NotRotatable
from kms.store import Store, StoreUnavailable
from kms.tokens import NewValue, Origin, SurrogateVault
from tests.unit.kms.process import Process, T, process


@pytest.fixture
async def here(dsn: str, keyring_file: Path) -> AsyncIterator[Process]:
    async with process(dsn, keyring_file) as made:
        yield made


def value(kind: str, clear: str, record: str, field: str = "") -> NewValue:
    return NewValue(kind, clear, Origin("contact", field or kind, record))


async def filled(vault: SurrogateVault, kind: str, count: int) -> dict[str, str]:
    """Values of a kind with their surrogates, some of them spelled in a second way at a second record."""
    clears = [spelled(kind, n) for n in range(count)]
    surrogates = await vault.tokenise(T, [value(kind, clear, f"r{n}") for n, clear in enumerate(clears)], "c")
    if kind == "email":
        again = [value(kind, clear.upper(), f"s{n}") for n, clear in enumerate(clears[::3])]
        assert await vault.tokenise(T, again, "c") == surrogates[::3]
    return dict(zip(clears, surrogates, strict=True))


def spelled(kind: str, n: int) -> str:
    return {"email": f"Person.{n}@example.com", "name": f"Person No{n}", "phone": f"1380013{n:04}"}[kind]


async def rotate(one: Process, kind: str, purpose: str, pages: int = 10**6, most: int = 7) -> tuple[bytes, Renewed]:
    """Switch and renew so many pages; the old key and the sum of what was done."""
    old = await one.rotation.current(T, kind, purpose)
    assert await one.rotation.switch(T, kind, purpose, old)
    return old, await renewed(one, kind, purpose, pages, most)


async def renewed(one: Process, kind: str, purpose: str, pages: int = 10**6, most: int = 7) -> Renewed:
    """So many pages from the beginning."""
    after: str | None = ""
    total = Renewed("", 0, 0, 0, 0)
    while after is not None and pages > 0:
        page = await one.rotation.renew(T, kind, purpose, after, most)
        after, pages = page.after, pages - 1
        total = Renewed(
            after,
            total.seen + page.seen,
            total.changed + page.changed,
            total.damaged + page.damaged,
            total.lost + page.lost,
        )
    return total


async def opens_all(vault: SurrogateVault, values: dict[str, str]) -> None:
    """Every surrogate opens to the text it was made for."""
    opened = await vault.resolve(T, values.values())
    assert {entry.clear: one for one, entry in opened.items()} == values


async def finds_all(vault: SurrogateVault, kind: str, values: dict[str, str]) -> None:
    """A search by each value finds its surrogate and no other."""
    for clear, surrogate in values.items():
        assert await vault.find(T, kind, clear) == [surrogate], clear


@pytest.mark.parametrize("purpose", ["seal", "equal"])
@pytest.mark.parametrize("kind", ["email", "phone", "name"])
async def test_every_value_moves_to_the_new_key_and_stays_what_it_was(
    here: Process, dsn: str, keyring_file: Path, kind: str, purpose: str
) -> None:
    """At 0, 50 and 100 %: every value opens to its text, is found, and written again it is the same surrogate."""
    values = await filled(here.vault, kind, 30)
    async with process(dsn, keyring_file, deaf=True) as stranger:
        await finds_all(stranger.vault, kind, values)  # it knows the old keys now
        old, done = await rotate(here, kind, purpose, pages=0)
        for pages in (0, 2, 10**6):
            await renewed(here, kind, purpose, pages)
            here.vault._opened.drop_all()
            for one in (here.vault, stranger.vault):
                await opens_all(one, values)
                await finds_all(one, kind, values)
        assert await here.rotation.left(T, kind, purpose, old) == 0
        await here.rotation.retire(T, old)
        await finds_all(stranger.vault, kind, values)
    assert [key.state for key in await Store(here.vault._store._pool).keys_for(T, kind, purpose)] == ["current"]
    again = await here.vault.tokenise(T, [value(kind, clear, f"r{n}") for n, clear in enumerate(values)], "c")
    assert again == list(values.values())
    assert done.damaged == done.lost == 0


async def test_a_page_done_twice_changes_nothing_the_second_time(here: Process, pool: Pool) -> None:
    """A kill between work and note makes the next process do it again."""
    await filled(here.vault, "email", 12)
    for purpose in ("seal", "equal"):
        _, done = await rotate(here, "email", purpose)
        assert done.changed == 12 + (4 if purpose == "seal" else 0)
        before = await rows(pool)
        assert (await renewed(here, "email", purpose)).changed == 0
        assert await rows(pool) == before


async def rows(pool: Pool) -> list[object]:
    """All there is in the vault."""
    async with pool.connection() as connection:
        found: list[object] = []
        for table in ("vault", "vault_origin", "vault_term"):
            found += await (await connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1")).fetchall()
        return found


async def test_what_somebody_writes_between_reading_and_writing_a_page_is_kept(here: Process, pool: Pool) -> None:
    """Compare and set: the page leaves alone what is no longer what it read."""
    values = await filled(here.vault, "email", 5)
    old = await here.rotation.current(T, "email", "seal")
    await here.rotation.switch(T, "email", "seal", old)
    page = here.rotation._store.page

    async def read_then_write(*arguments: object) -> object:
        read = await page(*arguments)  # type: ignore[arg-type]
        again = [value("email", clear, f"t{n}") for n, clear in enumerate(values)]
        assert await here.vault.tokenise(T, again, "c") == list(values.values())
        here.rotation._store.page = page  # type: ignore[method-assign]
        return read

    here.rotation._store.page = read_then_write  # type: ignore[method-assign, assignment]
    done = await here.rotation.renew(T, "email", "seal", "", 100)
    assert done.changed == 2  # two spellings; the values were renewed when they were written
    assert await here.rotation.left(T, "email", "seal", old) == 0
    here.vault._opened.drop_all()
    await opens_all(here.vault, values)


async def test_writing_a_value_again_renews_it_without_the_bulk_work(here: Process) -> None:
    """Lazily: what is in use is under the new keys first."""
    values = await filled(here.vault, "phone", 6)
    olds = {purpose: (await rotate(here, "phone", purpose, pages=0))[0] for purpose in ("seal", "equal")}
    await here.vault.tokenise(T, [value("phone", clear, "x") for clear in list(values)[:4]], "c")
    for purpose, old in olds.items():
        assert await here.rotation.left(T, "phone", purpose, old) == 2


async def test_two_who_write_an_equal_value_while_the_key_changes_get_one_surrogate(
    here: Process, dsn: str, keyring_file: Path
) -> None:
    """One knows the old key only, the other the new one: neither index nor look-up alone would see it."""
    async with process(dsn, keyring_file, deaf=True) as stranger:
        await stranger.vault.tokenise(T, [value("email", "first@example.com", "1")], "c")
        for n in range(5):
            await rotate(here, "email", "equal", pages=0)
            wanted = [value("email", f"new.{n}@example.com", "1"), value("phone", f"1390000{n:04}", "1")]
            both = await asyncio.gather(*(one.vault.tokenise(T, wanted, "c") for one in (stranger, here)))
            assert both[0] == both[1]


async def test_many_writers_during_rotations_share_surrogates_and_leave_nothing_under_old_keys(
    here: Process, dsn: str, keyring_file: Path, pool: Pool
) -> None:
    """Writers that hear late, writers that hear, and pages, all at once."""
    clears = [spelled("email", n) for n in range(60)]
    async with process(dsn, keyring_file, deaf=True) as deaf, process(dsn, keyring_file) as other:

        async def write(one: Process, order: int) -> list[str]:
            given: dict[str, str] = {}
            for at in range(0, 60, 5):
                some = clears[at : at + 5][::order]
                found = await one.vault.tokenise(T, [value("email", clear, f"r{clear}") for clear in some], "c")
                given |= dict(zip(some, found, strict=True))
            return [given[clear] for clear in clears]

        async def turn() -> list[bytes]:
            olds = []
            for purpose in ("equal", "seal", "equal"):
                olds.append((await rotate(here, "email", purpose, most=9))[0])
            return olds

        await deaf.vault.tokenise(T, [value("email", "first@example.com", "1")], "c")
        *given, olds = await asyncio.gather(write(deaf, 1), write(other, -1), write(here, 1), turn())
    assert given[0] == given[1] == given[2]
    assert len(set(given[0])) == 60
    for purpose, old in zip(("equal", "seal", "equal"), olds, strict=True):
        await renewed(here, "email", purpose)
        assert await here.rotation.left(T, "email", purpose, old) == 0
    here.vault._opened.drop_all()
    await opens_all(here.vault, dict(zip(clears, given[0], strict=True)))
    async with pool.connection() as connection:
        twins = await connection.execute("SELECT kind FROM vault GROUP BY kind, equal_term HAVING count(*) > 1")
        assert await twins.fetchall() == []


async def test_a_name_is_found_by_its_alias_after_both_keys_changed(here: Process) -> None:
    """The alias itself is kept sealed, so that its terms can be made anew."""
    surrogate = (await here.vault.tokenise(T, [value("name", "Zhang", "1")], "c"))[0]
    await here.vault.index_aliases(T, "name", [("Wei Zhang", surrogate)])
    for purpose in ("seal", "equal", "seal"):
        old, done = await rotate(here, "name", purpose)
        assert (done.damaged, done.lost) == (0, 0)
        assert await here.rotation.left(T, "name", purpose, old) == 0
        await here.rotation.retire(T, old)
        assert await here.vault.find(T, "name", "wei zhang") == [surrogate]
        assert await here.vault.find_known(T, "name", ["Wei Zhang", "Zhang"]) == {
            "Wei Zhang": [surrogate],
            "Zhang": [surrogate],
        }


async def test_a_term_that_nobody_can_make_anew_is_counted_as_lost(here: Process, pool: Pool) -> None:
    """It is said, not passed over: aliases from before their text was kept."""
    surrogate = (await here.vault.tokenise(T, [value("name", "Zhang", "1")], "c"))[0]
    await here.vault.index_aliases(T, "name", [("Wei Zhang", surrogate)])
    async with pool.connection() as connection:
        await connection.execute("UPDATE vault_term SET alias = NULL")
    old, done = await rotate(here, "name", "equal")
    assert done.lost == 2  # its exact and its folded term
    assert await here.rotation.left(T, "name", "equal", old) == 0


async def test_a_spelling_of_its_own_stays_apart(here: Process) -> None:
    """A mention in running text that is spelled otherwise has an entry of its own."""
    first = (await here.vault.tokenise(T, [value("email", "A.B@example.com", "1")], "c"))[0]
    mention = NewValue("email", "a.b@EXAMPLE.com", Origin("note", "text", "2"), verbatim=True)
    second = (await here.vault.tokenise(T, [mention], "c"))[0]
    assert first != second
    for purpose in ("equal", "seal"):
        old, done = await rotate(here, "email", purpose)
        assert done.damaged == 0
        assert await here.rotation.left(T, "email", purpose, old) == 0
    assert await here.vault.tokenise(T, [mention, value("email", "a.b@example.com", "3")], "c") == [second, first]


async def test_a_damaged_entry_is_left_counted_and_holds_the_old_key(here: Process, pool: Pool) -> None:
    """The end "0 under the old key" is proved, never assumed."""
    values = await filled(here.vault, "phone", 8)
    victim = list(values.values())[3]
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE vault SET blob = set_byte(blob, 30, get_byte(blob, 30) # 1) WHERE surrogate = %s", (victim,)
        )
    for purpose in ("seal", "equal"):
        old, done = await rotate(here, "phone", purpose)
        assert (done.changed, done.damaged) == (7, 1)
        assert await here.rotation.left(T, "phone", purpose, old) == 1


async def test_surrogates_of_an_old_token_key_are_recognised_for_ever_and_new_ones_everywhere(
    here: Process, dsn: str, keyring_file: Path
) -> None:
    """They stand in the CRM, where nobody can change their checks."""
    old_one = (await here.vault.tokenise(T, [value("email", "old@example.com", "1")], "c"))[0]
    async with process(dsn, keyring_file) as other:
        scanner = await other.vault.start(T)
        old = await here.rotation.current(T, "surrogate", "token")
        assert await here.rotation.switch(T, "surrogate", "token", old)
        assert not await here.rotation.switch(T, "surrogate", "token", old)  # twice is once
        new_one = (await here.vault.tokenise(T, [value("email", "new@example.com", "2")], "c"))[0]
        assert (await here.vault.tokenise(T, [value("email", "old@example.com", "3")], "c"))[0] == old_one
        async with asyncio.timeout(60):
            while [hit.canonical for hit in scanner.find(new_one.encode())] != [new_one]:
                await asyncio.sleep(0.02)
        assert [hit.canonical for hit in scanner.find(old_one.encode())] == [old_one]
    assert [key.state for key in await Store(here.vault._store._pool).keys_for(T, "surrogate", "token")] == [
        "current",
        "verify",
    ]


async def test_only_keys_of_the_vault_that_exist_are_rotated(here: Process) -> None:
    """Another scope would change a key and renew nothing."""
    assert here.rotation.end("email", "seal") is End.RETIRED
    for scope, purpose in (("gateway.access", "seal"), ("email", "token"), ("nothing", "seal"), ("email", "")):
        with pytest.raises(NotRotatable):
            await here.rotation.current(T, scope, purpose)
    with pytest.raises(NotRotatable):
        await here.rotation.current("another tenant", "email", "seal")


async def test_without_provider_or_store_nothing_changes(
    here: Process, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No new key without its wrapping; no page without its keys."""
    await filled(here.vault, "email", 3)
    old = await here.rotation.current(T, "email", "seal")

    async def fail(*_: object) -> bytes:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(LocalProvider, "wrap", fail)
        with pytest.raises(KeysUnavailable):
            await here.rotation.switch(T, "email", "seal", old)
    assert await here.rotation.current(T, "email", "seal") == old
    assert await here.rotation.switch(T, "email", "seal", old)
    before = await rows(pool)
    here.keyring.forget()
    with monkeypatch.context() as patch:
        patch.setattr(LocalProvider, "unwrap", fail)
        with pytest.raises(KeysUnavailable):
            await here.rotation.renew(T, "email", "seal", "", 10)
    assert await rows(pool) == before
    await here.vault._store._pool.close()
    with pytest.raises(StoreUnavailable):
        await here.rotation.renew(T, "email", "seal", "", 10)


async def test_a_writer_that_never_gets_the_keys_of_now_is_refused(
    here: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than writing under a key that is no longer current."""
    await filled(here.vault, "email", 2)
    stale: KindKeys = await here.vault._kind_keys(T, "email")
    await rotate(here, "email", "seal", pages=0)

    async def old_keys(*_: object) -> KindKeys:
        return stale

    monkeypatch.setattr(here.vault, "_kind_keys", old_keys)
    with pytest.raises(KeysUnavailable) as caught:
        await here.vault.tokenise(T, [value("email", "late@example.com", "9")], "c")
    assert caught.value.problem == "keys-changing"
    assert await here.vault.find(T, "email", "late@example.com") == []


async def test_a_key_whose_destruction_was_approved_is_not_written_under_and_a_destroyed_one_not_asked_for(
    here: Process, dsn: str, keyring_file: Path, pool: Pool
) -> None:
    """By nobody, also not by who has not heard of it; and the search for what is left goes on."""
    values = await filled(here.vault, "email", 3)
    async with process(dsn, keyring_file, deaf=True) as stranger:
        await finds_all(stranger.vault, "email", values)
        approve = "UPDATE kms_key SET retired_at = now() WHERE scope = 'email' AND purpose IN ('seal', 'equal')"
        destroy = "UPDATE kms_key SET destroyed_at = now(), wrapped = '', commitment = '' WHERE retired_at IS NOT NULL"
        async with pool.connection() as connection:
            await connection.execute(approve)
        late = (await stranger.vault.tokenise(T, [value("email", "late@example.com", "9")], "c"))[0]
        await finds_all(stranger.vault, "email", values)
        async with pool.connection() as connection:
            await connection.execute(destroy)
        stranger.keyring.refresh(T)
        assert await stranger.vault.find(T, "email", "late@example.com") == [late]
        assert await stranger.vault.find(T, "email", next(iter(values))) == []
        with pytest.raises(NotRotatable):
            await here.rotation.current("nobody", "email", "seal")
