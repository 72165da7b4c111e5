"""What a command works on: the database is there for whoever asks for it, and let go however the command ends."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import typer

from gateway import cli_installed
from gateway.cli_installed import installed
from gateway.database import DatabaseUnavailable
from gateway.opening import Database
from gateway.settings import Settings

TOML = '[tenant.{name}]\nupstream = "http://127.0.0.1:1"\nprofile = "bottle"\npublic_url = "https://{name}.localhost"\n'


class Opened(Database):
    """A database that says what was done with it."""

    seen: ClassVar[list[str]]

    def close(self) -> None:
        self.seen.append("closed")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    monkeypatch.setattr(Opened, "seen", done, raising=False)

    def opening(_: Settings) -> Database:
        done.append("opened")
        return Opened("postgresql://here")

    monkeypatch.setattr(cli_installed, "open_database", opening)
    return done


def config(tmp_path: Path, *names: str) -> Path:
    file = tmp_path / "crmgate.toml"
    file.write_text("".join(TOML.format(name=name) for name in names), encoding="utf-8")
    return file


def test_the_database_is_opened_once_when_asked_for_and_closed_at_the_end(tmp_path: Path, seen: list[str]) -> None:
    with installed(config(tmp_path, "main"), "") as at:
        assert (at.tenant, list(at.settings.tenants), seen) == ("main", ["main"], [])
        assert at.dsn == at.dsn == "postgresql://here"
        assert seen == ["opened"]
    assert seen == ["opened", "closed"]


def test_a_command_that_asks_for_no_database_starts_none(tmp_path: Path, seen: list[str]) -> None:
    with installed(config(tmp_path, "main"), "main"):
        pass
    assert seen == []


def unavailable(_: str) -> None:
    raise DatabaseUnavailable("the database does not answer")


def ended(_: str) -> None:
    raise typer.Exit(2)


@pytest.mark.parametrize(("fails", "code"), [(unavailable, 1), (ended, 2)])
def test_a_command_that_fails_ends_with_its_code_and_lets_the_database_go(
    tmp_path: Path, seen: list[str], fails: Callable[[str], None], code: int
) -> None:
    with pytest.raises(typer.Exit) as told, installed(config(tmp_path, "main"), "") as at:
        fails(at.dsn)
    assert told.value.exit_code == code
    assert seen == ["opened", "closed"]


def test_a_database_that_cannot_be_opened_is_told_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing(_: Settings) -> Database:
        raise DatabaseUnavailable("the database does not answer")

    monkeypatch.setattr(cli_installed, "open_database", refusing)
    with pytest.raises(typer.Exit) as told, installed(config(tmp_path, "main"), "") as at:
        assert at.dsn
    assert told.value.exit_code == 1
    assert "crmgate check" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["", "other"])
def test_which_crm_is_meant_has_to_be_said_where_there_are_several(
    tmp_path: Path, seen: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as told, installed(config(tmp_path, "north", "south"), named):
        pass
    assert told.value.exit_code == 2
    assert "north, south" in capsys.readouterr().err
    assert seen == []
