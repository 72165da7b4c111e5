"""Which Python runs a CRM."""

import stat
import sys
from pathlib import Path

import pytest

from gateway.demo import interpreter
from gateway.demo.interpreter import InterpreterMissing, find

OWN = sys.version_info[:2]
NOBODYS = (3, 99)


def put(folder: Path, name: str, told: str, code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / name
    made.write_text(f"#!/bin/sh\necho {told}\nexit {code}\n")
    made.chmod(made.stat().st_mode | stat.S_IXUSR)
    return made


@pytest.mark.parametrize("versions", [(), (OWN,), (NOBODYS, OWN)])
def test_our_own_interpreter_serves_where_it_fits(versions: tuple[tuple[int, int], ...], tmp_path: Path) -> None:
    found = find(versions, tmp_path)
    assert found.version == OWN
    assert found.path.exists()


def test_a_command_that_only_says_nothing_is_installed_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "shims", "python3.99", "3.99", code=127)
    kept = put(tmp_path / ".pyenv" / "versions" / "3.99.1" / "bin", "python3.99", "3.99")
    monkeypatch.setenv("PATH", f"{tmp_path / 'shims'}:/usr/bin:/bin")
    assert find([NOBODYS], tmp_path) == (kept, NOBODYS)


def test_the_newest_patch_release_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for patch in ("9", "10"):
        put(tmp_path / ".pyenv" / "versions" / f"3.99.{patch}" / "bin", "python3.99", "3.99")
    assert find([NOBODYS], tmp_path).path == tmp_path / ".pyenv" / "versions" / "3.99.10" / "bin" / "python3.99"


def test_an_interpreter_of_another_version_than_its_name_says_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "bin", "python3.99", "3.98")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(InterpreterMissing) as told:
        find([NOBODYS], tmp_path)
    assert "python3.99-venv" in str(told.value)
    assert "Python 3.99" in str(told.value)


def test_a_missing_interpreter_is_said_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "_candidates", lambda version, home: iter(()))
    with pytest.raises(InterpreterMissing) as told:
        find([NOBODYS, (3, 98)], tmp_path)
    assert "3.99 or 3.98" in str(told.value)
    assert told.value.permanent
