"""An administrator is told of providers whose files cannot be used or that do not answer as the settings say."""

from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from gateway.check_sign_in import check_sign_in
from gateway.check_words import SENTENCES
from gateway.finding import Weight
from gateway.settings_file import build_settings
from tests.unit.gateway.federation.made_provider import made_provider


async def found(folder: Path, **provider: Any) -> list[tuple[str, Weight, str]]:
    table = {"name": "corp", "label": "Corp", "client_id": "crmgate", **provider}
    raw = {"tenant": {"main": {"upstream": "http://127.0.0.1:1"}}, "sign_in": {"provider": [table]}}
    findings = await check_sign_in(build_settings(raw, folder / "crmgate.toml"))
    assert all(one.id in SENTENCES for one in findings)
    return [(one.id, one.weight, one.place) for one in findings]


PLACE = "sign_in.provider.1"


async def test_a_provider_that_answers_is_fine(tmp_path: Path) -> None:
    with made_provider(RSAKey.generate_key(2048)) as made:
        assert await found(tmp_path, issuer=made.issuer) == [("provider-fine", Weight.FINE, PLACE)]


async def test_a_provider_that_is_away_is_a_warning(tmp_path: Path) -> None:
    told = await found(tmp_path, issuer="http://127.0.0.1:1", timeout_s=0.5)
    assert told == [("provider-unreachable", Weight.WARNING, PLACE)]


async def test_a_document_of_somebody_else_is_a_problem(tmp_path: Path) -> None:
    with made_provider(RSAKey.generate_key(2048)) as made:
        made.answers["/.well-known/openid-configuration"] = (200, made.document(issuer="https://other.example.org"))
        assert await found(tmp_path, issuer=made.issuer) == [("provider-document", Weight.PROBLEM, PLACE)]


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"\xff"])
async def test_a_secret_that_cannot_be_used_is_a_problem(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    told = await found(tmp_path, issuer="https://id.example.org", client_secret_file="secret")
    assert told == [("provider-file", Weight.PROBLEM, f"{PLACE}.client_secret_file")]


@pytest.mark.parametrize("content", [None, b"no certificate"])
async def test_an_authority_that_cannot_be_used_is_a_problem(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    told = await found(tmp_path, issuer="https://id.example.org", ca="ca.pem")
    assert told == [("provider-file", Weight.PROBLEM, f"{PLACE}.ca")]


async def test_a_ready_made_provider_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    told = await found(tmp_path, kind="feishu", organisation="org", client_secret_file="secret")
    assert told == [("provider-not-asked", Weight.FINE, PLACE)]
