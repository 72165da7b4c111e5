"""The preset for 等保: composition, an end, no reuse; without it nothing of the kind."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.access.password_rules import PasswordRules, classes_of
from gateway.access.passwords import PasswordRefused, PasswordWrong, check_new_password
from gateway.access.sessions import NoSession
from gateway.access.sign_in import RENEWAL_ATTEMPTS, Attempt, HalfOpenExpired, PasswordExpired, SignedIn
from tests.unit.gateway.access.world import Access, Clock, Enrolled, build

MLPS = PasswordRules(least=14, classes=3, lifetime=timedelta(days=90), kept=2)
OWNER = "192.0.2.7"
FRESH = ("Maple-Orchard-77-Tin", "Velvet-Harbour-31-Ox", "Copper-Lantern-58-Elm", "Granite-Willow-94-Fig")


@pytest.fixture
def strict(pool, clock: Clock) -> Access:
    """A process whose settings have the preset."""
    return build(pool, clock, MLPS)


async def old(strict: Access, clock: Clock, li: Enrolled, days: int = 91) -> str:
    """The token of a sign-in that waits for a new password, after `days`."""
    clock.advance(days=days, hours=2)  # brakes forget, and the code is another one
    half = await strict.sign_in.password_step("t1", "li.wei", li.password, OWNER, next_path="/wanted")
    with pytest.raises(Attempt) as caught:
        await strict.sign_in.code_step("t1", half.token, strict.code(li.secret), OWNER)
    assert isinstance(caught.value.outcome, PasswordExpired)
    return caught.value.outcome.token


async def renew(strict: Access, token: str, password: str, client: str = OWNER) -> SignedIn:
    return await strict.sign_in.renewal_step(
        "t1", token, lambda user, stored: strict.users.accepted(user, password, stored), client
    )


@pytest.mark.parametrize(
    ("password", "classes"),
    [("abc", 1), ("Abc", 2), ("Abc1", 3), ("Abc1 ", 4), ("密码", 1), ("密码a", 2), ("", 0), ("١", 1), ("Ää", 2)],
)
def test_kinds_of_characters_are_counted(password: str, classes: int) -> None:
    assert classes_of(password) == classes


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("quiet lantern river 5", "too-few-classes-not"),
        ("quiet lantern river", "too-few-classes"),
        ("Quiet-Lamp-52", "too-short"),
    ],
)
def test_composition_and_length_hold_with_the_preset_only(password: str, problem: str) -> None:
    rules = replace(MLPS, classes=3)
    try:
        check_new_password(password, (), rules=rules)
        told = "too-few-classes-not"
    except PasswordRefused as refused:
        told = refused.problem
    assert told == problem
    check_new_password(password, ())


def test_a_password_ends_with_its_days_and_one_of_an_unknown_day_at_once(clock: Clock) -> None:
    changed = clock()
    assert not MLPS.expired(changed, changed + timedelta(days=90) - timedelta(seconds=1))
    assert MLPS.expired(changed, changed + timedelta(days=90))
    assert MLPS.expired(None, changed)
    assert not PasswordRules().expired(None, changed)


async def test_nothing_opens_before_an_expired_password_is_replaced(strict: Access, clock: Clock, li: Enrolled) -> None:
    token = await old(strict, clock, li)
    assert await strict.sessions.list("t1", clock()) == []
    with pytest.raises(HalfOpenExpired):  # it is no half-open sign-in that a code would finish
        await strict.sign_in.code_step("t1", token, strict.code(li.secret, 1), OWNER)
    for refused, problem in ((li.password, "used-before"), ("short", "too-short")):
        with pytest.raises(PasswordRefused) as caught:
            await renew(strict, token, refused)
        assert caught.value.problem == problem
    assert await strict.sessions.list("t1", clock()) == []
    done = await renew(strict, token, FRESH[0])
    assert done.next_path == "/wanted"
    assert (await strict.sessions.principal(done.token, clock())).id == li.user.id
    with pytest.raises(HalfOpenExpired):
        await renew(strict, token, FRESH[1])
    with pytest.raises(Attempt) as wrong:
        await strict.sign_in.password_step("t1", "li.wei", li.password, OWNER)
    assert isinstance(wrong.value.outcome, PasswordWrong)


async def test_without_the_preset_an_old_password_signs_in(access: Access, clock: Clock, li: Enrolled) -> None:
    clock.advance(days=4000)
    await access.sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret), OWNER)


async def test_programs_and_commands_get_nothing_with_an_expired_password(
    strict: Access, clock: Clock, li: Enrolled
) -> None:
    clock.advance(days=91)
    for attempt in (strict.sign_in.at_once, strict.sign_in.prove):
        with pytest.raises(Attempt) as caught:
            await attempt("t1", "li.wei", li.password, strict.code(li.secret), OWNER)
        assert isinstance(caught.value.outcome, PasswordExpired)
        assert caught.value.outcome.token == ""
        clock.advance(seconds=60)
    assert await strict.sessions.list("t1", clock()) == []


async def test_a_renewal_ends_every_other_session_and_half_open_sign_in(
    strict: Access, clock: Clock, li: Enrolled
) -> None:
    token = await old(strict, clock, li)
    elsewhere = await strict.sessions.open(li.user, OWNER, clock())
    second = await strict.sign_in.password_step("t1", "li.wei", li.password, OWNER)
    await renew(strict, token, FRESH[0])
    assert len(await strict.sessions.list("t1", clock())) == 1
    with pytest.raises(NoSession):
        await strict.sessions.principal(elsewhere, clock())
    with pytest.raises(HalfOpenExpired):
        await strict.sign_in.code_step("t1", second.token, strict.code(li.secret, 1), OWNER)


async def test_a_renewal_that_another_one_overtook_is_good_for_nothing(
    strict: Access, clock: Clock, li: Enrolled
) -> None:
    token = await old(strict, clock, li)
    await strict.users.change_password("t1", li.user.id, li.password, FRESH[0], keep_session="")
    with pytest.raises(HalfOpenExpired):
        await renew(strict, token, FRESH[1])


async def test_a_renewal_ends_with_its_time_its_tries_and_its_account(
    strict: Access, clock: Clock, li: Enrolled
) -> None:
    token = await old(strict, clock, li)
    for _ in range(RENEWAL_ATTEMPTS):
        with pytest.raises(PasswordRefused):
            await renew(strict, token, "short")
    with pytest.raises(HalfOpenExpired):
        await renew(strict, token, FRESH[0])
    late = await old(strict, clock, li, days=0)
    clock.advance(minutes=11)
    with pytest.raises(HalfOpenExpired):
        await renew(strict, late, FRESH[0])
    closed = await old(strict, clock, li, days=0)
    await strict.users.disable(li.user)
    with pytest.raises(HalfOpenExpired):
        await renew(strict, closed, FRESH[0])


async def test_the_last_passwords_are_never_taken_again_and_kept_as_argon2id(
    strict: Access, clock: Clock, li: Enrolled
) -> None:
    used = [li.password]

    async def change(new: str) -> None:
        await strict.users.change_password("t1", li.user.id, used[-1], new, keep_session="")
        used.append(new)

    for new in FRESH[:3]:
        await change(new)
    kept = await strict.store.earlier_hashes("t1", li.user.id)
    assert len(kept) == MLPS.kept
    assert all(one.startswith("$argon2id$") for one in kept)
    for one in used[-3:]:  # the one in use and the two before
        with pytest.raises(PasswordRefused) as caught:
            await change(one)
        assert caught.value.problem == "used-before"
    await change(FRESH[3])
    await change(FRESH[0])  # three changes ago


async def test_a_reset_does_not_make_an_old_password_new(strict: Access, clock: Clock, li: Enrolled) -> None:
    await strict.users.change_password("t1", li.user.id, li.password, FRESH[0], keep_session="")
    token, _ = await strict.users.reset(li.user, "somebody")
    secret = (await strict.users.invitation("t1", token)).secret
    with pytest.raises(PasswordRefused) as caught:
        await strict.users.accept("t1", token, FRESH[0], strict.code(secret))
    assert caught.value.problem == "used-before"
    await strict.users.accept("t1", token, FRESH[1], strict.code(secret))


async def test_without_the_preset_earlier_passwords_are_not_kept(strict: Access, access: Access, li: Enrolled) -> None:
    await strict.users.change_password("t1", li.user.id, li.password, FRESH[0], keep_session="")
    assert len(await strict.store.earlier_hashes("t1", li.user.id)) == 1
    await access.users.change_password("t1", li.user.id, FRESH[0], FRESH[1], keep_session="")
    assert await access.store.earlier_hashes("t1", li.user.id) == []
