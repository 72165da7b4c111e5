"""An administrator is told which server of a directory cannot be asked, and why."""

from pathlib import Path

import pytest

from gateway.check_directory import check_directories
from gateway.check_words import SENTENCES
from gateway.settings_file import build_settings
from tests.real.bent_directory import OWN_DN, OWN_SECRET, bent_directory


async def found(folder: Path, **changes: object) -> list[str]:
    (folder / "secret").write_text(OWN_SECRET)
    directory = {
        "name": "ad",
        "bind_dn": OWN_DN,
        "bind_secret_file": "secret",
        "base": "DC=ad,DC=example",
        "filter": "(uid={login})",
        "timeout_s": 30,
        "connect_timeout_s": 30,
        "clear_text_on_loopback": True,
    } | changes
    tenant = {"upstream": "http://127.0.0.1:1"}
    settings = build_settings({"tenant": {"main": tenant}, "sign_in": {"directory": [directory]}}, folder / "c.toml")
    findings = [one async for one in check_directories(settings)]
    assert all(one.id in SENTENCES for one in findings)
    return [one.id for one in findings]


async def test_each_server_is_asked_and_clear_text_is_told(tmp_path: Path) -> None:
    with bent_directory() as gone:
        pass
    with bent_directory() as server:
        said = await found(tmp_path, urls=[server.url, gone.url])
    assert said == ["directory-clear", "directory-fine", "directory-unreachable"]


@pytest.mark.parametrize(
    ("mode", "changes", "said"),
    [
        ("garbage", {}, "directory-nonsense"),
        ("hang", {"timeout_s": 0.3}, "directory-slow"),
        ("", {"bind_secret_file": "missing"}, "directory-secret"),
        ("", {"bind_dn": "CN=other,DC=ad,DC=example"}, "directory-own-account"),
        ("", {"clear_text_on_loopback": False}, "directory-tls"),
    ],
)
async def test_what_is_wrong_has_a_name(tmp_path: Path, mode: str, changes: dict[str, object], said: str) -> None:
    with bent_directory(mode) as server:
        assert (await found(tmp_path, urls=[server.url], **changes))[-1] == said


async def test_a_ca_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    assert await found(tmp_path, urls=["ldaps://127.0.0.1:1"], ca="ca.pem", clear_text_on_loopback=False) == [
        "directory-ca"
    ]


def test_every_reason_why_it_cannot_be_asked_has_a_sentence() -> None:
    for reason in ("unreachable", "tls", "slow", "nonsense", "busy", "secret", "own-account", "search"):
        assert f"directory-{reason}" in SENTENCES
