"""The list of requirements is whole, and every test it names is there."""

from pathlib import Path

from tests.asvs.requirement import Requirement, missing_tests, read

# Levels of each section's requirements in their order (ASVS 5.0.0): up to level 2, of V7 and V8 up to level 3.
LEVELS = {
    "3.3": [1, 2, 2, 2],
    "3.4": [1, 1, 2, 2, 2, 2],
    "3.5": [1, 1, 1, 2, 2],
    "4.1": [1, 2, 2],
    "6.1": [1, 2, 2],
    "6.2": [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2],
    "6.3": [1, 1, 2, 2],
    "6.4": [1, 1, 2, 2],
    "6.5": [2, 2, 2, 2, 2],
    "6.6": [2, 2, 2],
    "6.8": [2, 2, 2, 2],
    "7.1": [2, 2, 2],
    "7.2": [1, 1, 1, 1],
    "7.3": [2, 2],
    "7.4": [1, 1, 2, 2, 2],
    "7.5": [2, 2, 3],
    "7.6": [2, 2],
    "8.1": [1, 2, 3, 3],
    "8.2": [1, 1, 2, 3],
    "8.3": [1, 3, 3],
    "8.4": [2, 3],
    "9.1": [1, 1, 1],
    "9.2": [1, 2, 2, 2],
    "10.2": [2, 2],
    "10.5": [2, 2, 2, 2, 2],
}


def test_every_requirement_in_scope_is_listed_once_with_its_level() -> None:
    wanted = [(f"{name}.{n}", level) for name, levels in LEVELS.items() for n, level in enumerate(levels, 1)]
    assert [(each.id, each.level) for each in read()] == wanted


def test_every_test_that_is_named_exists() -> None:
    assert missing_tests(read()) == []


def test_nothing_is_claimed_without_a_test() -> None:
    assert [each.id for each in read() if not each.tests and not each.open] == []
    assert [each.id for each in read() if each.open and each.absent] == []


def test_a_test_that_does_not_exist_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("async def test_there():\n    pass\n", "utf-8")
    named = ("test_it.py::test_there", "test_it.py::test_gone", "none.py::test_there")
    assert missing_tests((Requirement("1.1.1", 1, "", named),), tmp_path) == [
        "none.py::test_there",
        "test_it.py::test_gone",
    ]
