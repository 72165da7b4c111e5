"""Settings: defaults, plain-word errors, secrets by reference, and that every one of them is documented."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gateway.anchor_config import AnchorSettings
from gateway.archive_config import ArchiveSettings, RetentionSettings
from gateway.key_config import KeyStore
from gateway.settings import SECTIONS, Posture, find_file
from gateway.settings_file import build_settings, read_settings
from gateway.toml_tree import Address, SettingInvalid

FILE = Path("/etc/crmgate/crmgate.toml")
CRM: dict[str, Any] = {"upstream": "http://127.0.0.1:8000"}
LEAST: dict[str, Any] = {"tenant": {"main": CRM}}
BAO: dict[str, Any] = {"provider": "openbao", "address": "https://bao:8200"}


def built(**sections: Any) -> Any:
    return build_settings(LEAST | sections, FILE)


def problem(**sections: Any) -> str:
    with pytest.raises(SettingInvalid) as told:
        built(**sections)
    assert told.value.permanent
    return str(told.value)


def test_one_line_is_enough() -> None:
    settings = built()
    assert settings.gateway.listen == Address("127.0.0.1", 8443)
    assert settings.tenants["main"].host == "crm.localhost:8443"
    assert settings.console.host == "console.localhost:8444"
    assert settings.tenants["main"].posture is Posture.SCAN
    assert settings.keys.provider is KeyStore.LOCAL
    assert settings.limits.body == 8 * 1024 * 1024


def test_paths_count_from_the_folder_of_the_file() -> None:
    settings = built(state="kept", keys={"passphrase_file": "secret/pass"}, audit={"checkpoint_key": "/run/audit.key"})
    assert settings.keyring_path == Path("/etc/crmgate/kept/keyring")
    assert settings.passphrase_path == Path("/etc/crmgate/secret/pass")
    assert settings.checkpoint_key_path == Path("/run/audit.key")
    assert settings.database_folder == Path("/etc/crmgate/kept/database")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"tenat": {}}, "did you mean tenant?"),
        ({"gateway": {"lissen": "x"}}, "gateway.lissen: there is no such setting; did you mean listen?"),
        ({"tenant": {"main": {"upstream": "http://x", "posure": "scan"}}}, "did you mean posture?"),
        ({"tenant": {"main": {}}}, "tenant.main.upstream: is missing"),
        ({"tenant": {}}, "name at least one CRM"),
        ({"tenant": {"main": 3}}, "write one section for each CRM"),
        ({"gateway": 3}, "gateway: must be a section: write [gateway]"),
        ({"gateway": {"listen": "8443"}}, "must be address and port"),
        ({"gateway": {"listen": "127.0.0.1:99999"}}, "must be address and port"),
        ({"gateway": {"tls": "yes"}}, "gateway.tls: must be true or false"),
        ({"limits": {"body_mb": True}}, "limits.body_mb: must be a whole number"),
        ({"limits": {"body_mb": 0}}, "limits.body_mb: must be at least 1"),
        ({"audit": {"watch_percent": 101}}, "audit.watch_percent: must be 100 at most"),
        ({"audit": {"watch_percent": 0}}, "audit.watch_percent: must be at least 1"),
        ({"tenant": {"main": {"upstream": "crm:8000"}}}, "tenant.main.upstream: must be an address such as http://"),
        ({"tenant": {"main": {"upstream": "http://u:p@crm"}}}, "must be an address"),
        ({"tenant": {"main": {"upstream": "http://crm/path"}}}, "must end after the host"),
        ({"tenant": {"main": {"upstream": "http://crm", "posture": "open"}}}, "must be one of scan, deny"),
        ({"network": {"trusted_proxies": ["10.0.0.1/8"]}}, "must be a network such as"),
        ({"network": {"trusted_proxies": "10.0.0.0/8"}}, "must be a list"),
        ({"console": {"public_url": "https://crm.localhost:9999"}}, "must not use the host of [tenant.main]"),
        ({"console": {"public_url": "http://console.localhost"}}, "must be an address such as https://"),
        ({"gateway": {"tls_certificate": "a.pem"}}, "tls_certificate and tls_key go together"),
        ({"keys": {"provider": "openbao", "address": "https://bao:8200"}}, "keys.token_file: is needed"),
        ({"keys": {"provider": "openbao"}}, "keys.address: must be an address"),
        ({"keys": {"suite": "aes-128"}}, "keys.suite: must be one of aes-256-gcm, sm4-gcm, 3des-cbc-hmac"),
        ({"keys": {"suite": "aes-256-siv"}}, "keys.suite: must be one of"),
        ({"keys": {"suite": "3des-cbc-hmac"}}, "keys.suite: 3des-cbc-hmac only reads; encrypting"),
        ({"keys": BAO | {"login": "approle"}}, "keys.role_id: is needed"),
        ({"keys": BAO | {"login": "approle", "role_id": "r"}}, "keys.secret_id_file: is needed"),
        ({"keys": BAO | {"login": "kubernetes"}}, "keys.role: is needed"),
        ({"keys": BAO | {"token_file": "t", "client_key": "k"}}, "keys.client_key: client_certificate and client_key"),
        ({"keys": {"login": "ldap"}}, "keys.login: must be one of token-file, approle, kubernetes"),
        ({"database": {"dsn": "postgresql://u:secret@db/x"}}, "database.dsn: must not hold a password"),
        ({"database": {"dsn": "not a dsn"}}, "is not a PostgreSQL connection string"),
    ],
)
def test_errors_say_what_fits(sections: dict[str, Any], said: str) -> None:
    assert said in problem(**sections)


def test_a_tenant_has_a_key_provider_of_its_own_with_what_it_leaves_out_from_the_shared_one() -> None:
    other = {
        "upstream": "http://127.0.0.1:2",
        "public_url": "https://b.localhost:8443",
        "keys": {"mount": "b", "key": "k"},
    }
    settings = built(keys=BAO | {"token_file": "t", "mount": "a"}, tenant={"main": CRM, "b": other})
    assert settings.keys_of("main") == settings.keys
    own = settings.keys_of("b")
    assert (own.address, own.mount, own.key, settings.keys.key) == ("https://bao:8200", "b", "k", "")


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"moutn": "b"}, "tenant.main.keys.moutn: there is no such setting; did you mean mount?"),
        ({"cache_s": 5}, "tenant.main.keys.cache_s: is the same for all CRMs: set it in [keys]"),
        ({"provider": "openbao"}, "tenant.main.keys.address: must be an address"),
        ("x", "tenant.main.keys: must be a section"),
    ],
)
def test_errors_in_the_keys_of_a_tenant_name_their_place(own: object, said: str) -> None:
    assert said in problem(tenant={"main": {**CRM, "keys": own}})


def test_a_password_in_a_dsn_is_not_repeated() -> None:
    assert "secret" not in problem(database={"dsn": "postgresql://u:secret@db/x"})


def test_two_crms_need_two_hosts() -> None:
    both = {"a": {"upstream": "http://a"}, "b": {"upstream": "http://b"}}
    assert "is taken by [tenant.a]" in problem(tenant=both)


def test_file_is_the_given_one_then_the_variable_then_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRMGATE_CONFIG", raising=False)
    assert find_file(None) == tmp_path / "crmgate.toml"
    monkeypatch.setenv("CRMGATE_CONFIG", "/etc/other.toml")
    assert find_file(None) == Path("/etc/other.toml")
    assert find_file(Path("mine.toml")) == tmp_path / "mine.toml"


def test_broken_file_is_told_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "crmgate.toml"
    with pytest.raises(SettingInvalid, match="cannot read"):
        read_settings(file)
    file.write_text("[tenant.main\n")
    with pytest.raises(SettingInvalid, match=r"not valid TOML.*line 1"):
        read_settings(file)


_DOCUMENTED = {
    **SECTIONS,
    "audit.anchor": AnchorSettings,
    "audit.archive": ArchiveSettings,
    "audit.retention.NAME": RetentionSettings,
}


def test_every_setting_is_documented() -> None:
    readme = (Path(__file__).parents[3] / "gateway" / "README.md").read_text(encoding="utf-8")
    for section, kind in _DOCUMENTED.items():
        name = "tenant.NAME" if section == "tenant" else section
        assert f"### [{name}]" in readme
        part = readme.partition(f"### [{name}]")[2].partition("\n### ")[0]
        for item in dataclasses.fields(kind):
            assert f"`{item.name}`" in part, f"{section}.{item.name} is not in gateway/README.md"
            assert item.metadata["help"] in part, f"{section}.{item.name} says something else in gateway/README.md"
