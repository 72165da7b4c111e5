"""An operator's token takes the place of the login that serves: for one CRM, and for nothing else of its keys."""

from pathlib import Path
from typing import Any

from gateway.key_config import KeyLogin
from gateway.opening import operated
from gateway.settings_file import build_settings

CRM = {"upstream": "http://127.0.0.1:9", "profile": "creme"}
SERVING = {"provider": "openbao", "address": "https://bao.example:8200", "login": "approle", "role_id": "serving"}


def test_the_token_of_an_operator_is_for_one_crm(tmp_path: Path) -> None:
    two = {"public_url": "https://two.localhost:8443"}
    given: dict[str, Any] = {
        "tenant": {"one": CRM, "two": CRM | two},
        "keys": SERVING | {"secret_id_file": str(tmp_path / "secret")},
    }
    settings = build_settings(given, tmp_path / "crmgate.toml")
    token = tmp_path / "operator"
    assert operated(settings, "one", None) is settings
    made = operated(settings, "one", token)
    assert (made.keys_of("one").login, made.keys_of("one").token_file) == (KeyLogin.TOKEN_FILE, token)
    assert (made.keys_of("one").address, made.keys_of("one").mount) == (settings.keys.address, settings.keys.mount)
    assert made.keys_of("two") == settings.keys_of("two")
    assert settings.keys_of("one").login is KeyLogin.APPROLE
