"""Passwords: what is accepted, and that verifying raises or returns."""

import pytest
from argon2 import PasswordHasher

from gateway.access.passwords import (
    PASSWORD_MAX_CHARS,
    PasswordRefused,
    Passwords,
    PasswordWrong,
    check_new_password,
)
from tests.unit.gateway.access.world import CHEAP


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("short", "too-short"),
        ("elevenchars", "too-short"),
        ("x" * (PASSWORD_MAX_CHARS + 1), "too-long"),
        ("password1234", "too-common"),
        ("QwertyUiop123", "too-common"),
        ("qwertyuiop12", "too-common"),
        ("aaaaaaaaaaaaaaaa", "too-common"),
        ("monkeymonkeydragon", "too-guessable"),
        ("li.wei.li.wei", "too-close"),
        ("crmgatecrmgate1", "too-close"),
    ],
)
def test_weak_passwords_are_refused_with_what_is_wrong(password, problem) -> None:
    with pytest.raises(PasswordRefused) as refused:
        check_new_password(password, ("li.wei", "Li Wei", "crmgate"))
    assert refused.value.problem == problem


@pytest.mark.parametrize(
    "password",
    [
        "quiet lantern river",
        "月亮河边的老榕树下有人",
        "  leading and trailing  ",
        "é" * 3 + "-quartz-91-velvet",
    ],
)
def test_long_unusual_passwords_of_any_characters_are_taken(password) -> None:
    """No composition rules: neither digits nor capitals nor signs are asked for (ASVS 6.2.5)."""
    if len(password) < 12:
        password += "唱歌"
    check_new_password(password, ("li.wei",))


async def test_a_password_is_verified_exactly_as_typed() -> None:
    passwords = Passwords(CHEAP)
    stored = await passwords.hash("Ünïcode pass ")
    await passwords.verify(stored, "Ünïcode pass ")
    for other in ("Ünïcode pass", "ünïcode pass ", "U\u0308nïcode pass ", "Ünïcode pass  "):
        with pytest.raises(PasswordWrong):
            await passwords.verify(stored, other)


async def test_the_longest_password_counts_to_its_last_character() -> None:
    passwords = Passwords(CHEAP)
    longest = "x" * (PASSWORD_MAX_CHARS - 1)
    stored = await passwords.hash(longest + "y")
    await passwords.verify(stored, longest + "y")
    for other in (longest + "z", longest, longest + "yy"):
        with pytest.raises(PasswordWrong):
            await passwords.verify(stored, other)


@pytest.mark.parametrize("stored", [None, "", "plain", "$argon2id$v=19$m=8,t=1,p=1$broken"])
async def test_nothing_to_verify_against_is_a_wrong_password(stored) -> None:
    with pytest.raises(PasswordWrong):
        await Passwords(CHEAP).verify(stored, "nobody has this password")


async def test_lone_surrogates_are_a_wrong_password_and_no_fault() -> None:
    passwords = Passwords(CHEAP)
    with pytest.raises(PasswordWrong):
        await passwords.verify(await passwords.hash("something else"), "\ud800")


def test_the_shipped_parameters_are_those_of_rfc_9106_for_low_memory() -> None:
    hasher = Passwords()._hasher
    assert (hasher.time_cost, hasher.memory_cost, hasher.parallelism) == (3, 65536, 4)
    assert Passwords().outdated(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("x"))
