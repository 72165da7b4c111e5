"""Where the keys of data subjects are: apart from the main database, made at first use, told when unusable."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.check import Finding, check
from gateway.first_steps import ensure_secrets
from gateway.person_keys import open_person_store, open_persons
from gateway.settings import Settings
from gateway.settings_file import read_settings
from gateway.toml_tree import SettingInvalid
from kms.provider import KeysUnavailable

TOML = """
state = "state"
[tenant.main]
upstream = "http://127.0.0.1:1"
"""


def installation(folder: Path, extra: str = "") -> Settings:
    file = folder / "crmgate.toml"
    file.write_text(TOML + extra)
    settings = read_settings(file)
    ensure_secrets(settings)
    return settings


async def findings(settings: Settings) -> list[Finding]:
    return [one for one in await check(settings, datetime.now(UTC)) if one.id.startswith("persons-")]


async def test_both_files_are_made_at_first_use_for_their_owner_only(tmp_path: Path) -> None:
    settings = installation(tmp_path)
    assert [one.id for one in await findings(settings)] == ["persons-none"]
    assert not settings.person_store_path.exists()
    persons = open_persons(settings)
    made = await persons.make("main", [b"h" * 16])
    await persons.close()
    for file in (settings.person_store_path, settings.epochs_path):
        assert file.stat().st_mode & 0o077 == 0
    again = open_persons(settings)
    assert (await again.keys("main", made)).keys == made
    await again.close()
    assert [(one.id, dict(one.values)) for one in await findings(settings)] == [("persons-fine", {"keys": "1"})]


async def test_a_lost_file_of_epochs_is_a_problem_and_is_not_made_anew(tmp_path: Path) -> None:
    settings = installation(tmp_path)
    persons = open_persons(settings)
    await persons.make("main", [b"h" * 16])
    await persons.close()
    settings.epochs_path.unlink()
    assert [one.id for one in await findings(settings)] == ["persons-unavailable"]
    again = open_persons(settings)
    with pytest.raises(KeysUnavailable):
        await again.make("main", [b"i" * 16])
    await again.close()
    assert not settings.epochs_path.exists()


@pytest.mark.parametrize("dsn", ["host=db dbname=crm", "postgresql://db/crm", "postgresql://u@db:5432/crm"])
def test_the_main_database_is_refused(tmp_path: Path, dsn: str) -> None:
    (tmp_path / "persons.dsn").write_text(dsn)
    (tmp_path / "main.dsn").write_text("postgresql://other@db/crm")
    extra = '[database]\ndsn_file = "main.dsn"\n[persons]\nstore = "postgresql"\ndsn_file = "persons.dsn"\n'
    with pytest.raises(SettingInvalid, match="must not be the main database"):
        open_person_store(installation(tmp_path, extra))


@pytest.mark.parametrize("extra", ['store = "postgresql"', 'dsn_file = "persons.dsn"'])
def test_store_and_connection_string_go_together(tmp_path: Path, extra: str) -> None:
    with pytest.raises(SettingInvalid, match="goes together"):
        installation(tmp_path, f"[persons]\n{extra}\n")
