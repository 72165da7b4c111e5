"""[tenant.NAME.identity]: defaults cost nothing, what is dangerous is refused with a sentence."""

from pathlib import Path
from typing import Any

import pytest

from gateway.identity.config import IdentityMode
from gateway.settings import Settings
from gateway.settings_file import build_settings
from gateway.toml_tree import SettingInvalid

FILE = Path("/n/crmgate.toml")
CLIENT = {"id": "crm", "redirect_uris": ["https://crm.example.org/back"]}


def build(identity: dict[str, Any]) -> Settings:
    return build_settings({"tenant": {"main": {"upstream": "http://127.0.0.1:9", "identity": identity}}}, FILE)


def test_nothing_said_passes_everything_through() -> None:
    plain = build_settings({"tenant": {"main": {"upstream": "http://127.0.0.1:9"}}}, FILE)
    assert plain.identity_of("main").mode is IdentityMode.PASS_THROUGH
    assert not plain.identity_of("main").is_active
    assert build({"mode": "header"}).identity_of("main").field == "X-Remote-User"
    assert build({"mode": "jwt", "audience": "crm"}).identity_of("main").field == "Authorization"


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ({"mode": "magic"}, "mode"),
        ({"mode": "header", "header": "Host"}, "header"),
        ({"mode": "header", "header": "X-User\r\nX"}, "header"),
        ({"mode": "header", "header": "Authorization"}, "header"),
        ({"mode": "jwt"}, "audience"),
        ({"mode": "oidc"}, "client"),
        ({"mode": "stored", "client": [CLIENT]}, "client"),
        ({"mode": "oidc", "client": [CLIENT, CLIENT]}, "client"),
        ({"mode": "oidc", "client": [{**CLIENT, "redirect_uris": ["http://crm.example.org/"]}]}, "redirect_uris"),
        ({"mode": "oidc", "client": [{**CLIENT, "redirect_uris": ["https://crm.example.org/#x"]}]}, "redirect_uris"),
        ({"mode": "oidc", "client": [{**CLIENT, "redirect_uris": []}]}, "redirect_uris"),
        ({"mode": "stored", "database": "../x y"}, "database"),
        ({"mode": "stored", "wait_s": 1}, "wait_s"),
        ({"clients": []}, "clients"),
        ({"modus": "stored"}, "modus"),
    ],
)
def test_what_cannot_be_used_is_named(identity: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingInvalid) as caught:
        build(identity)
    assert caught.value.name.startswith("tenant.main.identity")
    assert name in caught.value.name


def test_every_setting_is_explained() -> None:
    import dataclasses

    from gateway.identity.config import IdentitySettings, RelyingParty

    readme = (Path(__file__).parents[4] / "gateway" / "identity" / "README.md").read_text(encoding="utf-8")
    for kind in (IdentitySettings, RelyingParty):
        for item in dataclasses.fields(kind):
            if "help" in item.metadata:
                assert f"| `{item.name}` |" in readme, item.name
                assert item.metadata["help"] in readme, item.name
