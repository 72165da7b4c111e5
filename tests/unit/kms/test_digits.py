"""Digits on a real PostgreSQL: only what was made here opens, one number has one spelling, whatever the keys do."""

import asyncio

import pytest

from gateway.database import Pool
from kms import marked_digits
from kms.cell_store import CellStore
from kms.digit_store import DigitStore
from kms.digits import DigitField, Digits
from kms.envelope import Sealing
from kms.fpe import DigitsRefused
from kms.keyring import Keyring
from kms.marked_digits import Check
from kms.provider import KeysUnavailable
from kms.rotation import End, Rotation
from kms.standing import CrmMover
from kms.store import Store, StoreUnavailable
from kms.surrogate import luhn_digit
from tests.unit.kms.conftest import Failing

T = "acme"
SIRET = DigitField("organisation", "siret", Check.LUHN)
ONE, TWO = "73282932000074", "35600000000048"


def free(_: str) -> bool:
    return False


@pytest.fixture
def digits(pool: Pool, keyring: Keyring) -> Digits:
    return Digits(DigitStore(pool), keyring, free)


async def rows(pool: Pool, table: str) -> list[str]:
    async with pool.connection() as connection:
        cursor = await connection.execute(f"SELECT t::text FROM {table} t".encode())
        return [row[0] for row in await cursor.fetchall()]


async def test_what_was_made_here_opens_here_and_nowhere_else(pool: Pool, digits: Digits) -> None:
    made = await digits.seal(T, SIRET, ONE)
    assert made != ONE
    assert await digits.open(T, SIRET, [made, ONE, "abc", ""]) == {made: ONE}
    other = DigitField("organisation", "siren", Check.LUHN)
    assert await digits.open(T, other, [made]) == {}
    assert await digits.open("jia", SIRET, [made]) == {}


async def test_digits_that_nobody_made_do_not_open_though_ff1_would_open_them(digits: Digits) -> None:
    made = await digits.seal(T, SIRET, ONE)
    bodies = [f"{int(made[:-1]) + step:013d}"[-13:] for step in range(1, 200)]
    invented = [body + str((int(luhn_digit(body)) + 1) % 10) for body in bodies]
    assert all(marked_digits.is_shaped(SIRET.check, one) for one in invented)
    assert await digits.open(T, SIRET, [*invented, made]) == {made: ONE}


async def test_the_mark_is_kept_before_anybody_has_the_digits_and_says_nothing_of_them(
    pool: Pool, digits: Digits, keyring: Keyring
) -> None:
    made = await digits.seal(T, SIRET, ONE)
    assert await digits.seal(T, SIRET, ONE) == made
    (kept,) = await rows(pool, "vault_digits")
    assert ONE not in kept
    assert made not in kept
    # Another process that never heard of it reads the same.
    assert await Digits(DigitStore(pool), keyring, free).open(T, SIRET, [made]) == {made: ONE}


async def test_a_number_that_was_never_sealed_has_no_digits_and_asking_leaves_no_mark(
    pool: Pool, digits: Digits
) -> None:
    assert await digits.sealed(T, SIRET, ONE) is None
    nobodys = await digits.nobodys(T, SIRET, ONE)
    assert await digits.open(T, SIRET, [nobodys]) == {}
    assert await rows(pool, "vault_digits") == []
    made = await digits.seal(T, SIRET, ONE)
    assert await digits.sealed(T, SIRET, ONE) == made
    with pytest.raises(DigitsRefused):
        await digits.seal(T, SIRET, "73282932000075")


async def test_a_number_keeps_its_digits_when_recognisers_learn_to_take_them_for_something(
    pool: Pool, digits: Digits, keyring: Keyring
) -> None:
    made = await digits.seal(T, SIRET, ONE)
    later = Digits(DigitStore(pool), keyring, {made}.__contains__)
    assert await later.seal(T, SIRET, ONE) == made
    assert await Digits(DigitStore(pool), keyring, lambda _: False).seal(T, SIRET, TWO) != made


async def test_after_a_change_of_keys_old_digits_open_and_their_number_keeps_them(
    pool: Pool, digits: Digits, keyring: Keyring
) -> None:
    made = await digits.seal(T, SIRET, ONE)
    old = await keyring.field_key(T, SIRET.scope, "ff1")
    mover = CrmMover(CellStore(pool), DigitStore(pool))
    rotation = Rotation(Store(pool), keyring, bytes, lambda _: Sealing(), (mover,))
    assert rotation.end(SIRET.scope, "ff1") is End.STANDING
    assert await rotation.switch(T, SIRET.scope, "ff1", old.id)
    # This process still holds the old key as the current one; the store says so and it looks again.
    second = await digits.seal(T, SIRET, TWO)
    new = await keyring.field_key(T, SIRET.scope, "ff1")
    assert new.id != old.id
    assert await digits.open(T, SIRET, [made, second]) == {made: ONE, second: TWO}
    assert await digits.seal(T, SIRET, ONE) == made
    assert await digits.sealed(T, SIRET, ONE) == made
    assert [await mover.left(T, SIRET.scope, "ff1", key.id) for key in (old, new)] == [1, 1]


async def test_a_process_that_does_not_know_a_new_key_reads_what_was_made_under_it(
    pool: Pool, digits: Digits, keyring: Keyring, failing: Failing
) -> None:
    await digits.seal(T, SIRET, ONE)
    old = await keyring.field_key(T, SIRET.scope, "ff1")
    elsewhere = Keyring(failing, Store(pool), clock=lambda: 0.0)
    made = await elsewhere.make_key(T, SIRET.scope, "ff1")
    from kms.rotation_store import RotationStore

    assert await RotationStore(Store(pool)).switch(T, made, old.id, verify=False)
    second = await Digits(DigitStore(pool), elsewhere, free).seal(T, SIRET, TWO)
    assert await digits.open(T, SIRET, [second]) == {second: TWO}
    await elsewhere.close()


async def test_one_number_sealed_at_the_same_time_has_one_spelling(digits: Digits) -> None:
    assert len(set(await asyncio.gather(*(digits.seal(T, SIRET, ONE) for _ in range(8))))) == 1


async def test_records_that_hold_digits_are_counted(pool: Pool, digits: Digits) -> None:
    place, other = ("organisation", "siret", "5"), ("organisation", "siret", "6")
    await digits.note(T, {place: True, other: True})
    await digits.note(T, {place: True, other: False})
    store = DigitStore(pool)
    assert await store.held_by(T, [("organisation", "5"), ("organisation", "6"), ("contact", "5")]) == [place]
    assert await store.held_by("jia", [("organisation", "5")]) == []
    await digits.note(T, {})


async def test_nothing_is_sealed_or_opened_while_keys_or_store_are_down(
    pool: Pool, digits: Digits, keyring: Keyring, failing: Failing
) -> None:
    made = await digits.seal(T, SIRET, ONE)
    failing.broken = True
    keyring.forget()
    for work in (digits.seal(T, SIRET, TWO), digits.open(T, SIRET, [made]), digits.sealed(T, SIRET, ONE)):
        with pytest.raises(KeysUnavailable):
            await work
    failing.broken = False
    await keyring.field_key(T, SIRET.scope, "ff1")
    async with pool.connection() as connection:
        await connection.execute("ALTER TABLE vault_digits RENAME TO away")
    try:
        fresh = Digits(DigitStore(pool), keyring, free)
        for work in (fresh.seal(T, SIRET, TWO), fresh.open(T, SIRET, [made])):
            with pytest.raises(StoreUnavailable):
                await work
    finally:
        async with pool.connection() as connection:
            await connection.execute("ALTER TABLE away RENAME TO vault_digits")
