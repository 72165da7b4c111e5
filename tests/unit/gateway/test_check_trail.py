"""`crmgate check` on the trail: the signing key on a real OpenBao, and networks that are nobody's in particular."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.check_trail import check_trail
from gateway.check_words import LANGUAGES, say
from gateway.checkpoint_key import create_key
from gateway.finding import Finding, Weight
from gateway.settings import Settings
from gateway.settings_file import build_settings
from tests.real.bao import Bao, bao

PLAIN = '[tenant.main]\nupstream = "http://127.0.0.1:1"\nprofile = "creme"\npublic_url = "https://crm.example.org"\n'


@pytest.fixture(scope="module")
def server() -> Iterator[Bao]:
    with bao() as running:
        yield running


def settings_of(tmp_path: Path, text: str, keys: str = "") -> Settings:
    return build_settings(tomllib.loads(f"{PLAIN}[audit]\n{text}\n{keys}"), tmp_path / "crmgate.toml")


async def found(settings: Settings) -> list[tuple[str, Weight]]:
    findings: list[Finding] = [one async for one in check_trail(settings)]
    for one in findings:
        assert all(say(one, language) for language in LANGUAGES)
    return [(one.id, one.weight) for one in findings]


async def test_a_key_that_signs_is_fine_one_that_is_missing_or_away_is_a_problem(server: Bao, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(server.client.token)
    keys = f'[keys]\nprovider = "openbao"\naddress = "{server.address}"\ntoken_file = "token"\ntimeout_s = 60\n'
    settings = settings_of(tmp_path, 'checkpoint_signer = "key-server"', keys)
    assert await found(settings) == [("signing-unusable", Weight.PROBLEM)]
    await create_key(settings, None)
    assert await found(settings) == [("signing-fine", Weight.FINE)]
    away = settings_of(tmp_path, 'checkpoint_signer = "key-server"', keys.replace(server.address, "http://127.0.0.1:1"))
    assert await found(away) == [("signing-waits", Weight.PROBLEM)]
    local = settings_of(tmp_path, 'checkpoint_signer = "key-server"')
    assert await found(local) == [("signing-unusable", Weight.PROBLEM)]


async def test_a_key_in_a_file_is_not_asked_and_everybody_as_reader_is_a_warning(tmp_path: Path) -> None:
    assert await found(settings_of(tmp_path, "")) == []
    assert await found(settings_of(tmp_path, 'tiles_networks = ["10.0.0.0/8"]')) == []
    assert await found(settings_of(tmp_path, 'tiles_networks = ["0.0.0.0/0"]')) == [("tiles-open", Weight.WARNING)]
