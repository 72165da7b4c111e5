"""Settings of directories: always under TLS, never without a name to look people up with; errors say what fits."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from gateway.directory import config
from gateway.directory.config import DirectorySettings, IdAttribute, read_directories
from gateway.federation.config import read_sign_in
from gateway.toml_tree import SettingInvalid

FINE: dict[str, Any] = {
    "name": "corp",
    "urls": ["ldaps://ldap.corp.example", "ldap://10.1.2.3:3389"],
    "bind_dn": "cn=crmgate,dc=corp,dc=example",
    "bind_secret_file": "directory.secret",
    "base": "ou=people,dc=corp,dc=example",
    "filter": "(uid={login})",
}
FOLDER = Path("/etc/crmgate")


def test_a_directory_is_read_with_paths_from_the_folder_of_the_file() -> None:
    (one,) = read_directories([FINE | {"tenants": ["main"], "id_attribute": "objectGUID"}], FOLDER, {"main"})
    assert one.bind_secret_file == FOLDER / "directory.secret"
    assert one.id_attribute is IdAttribute.OBJECT_GUID
    assert one.serves("main")
    assert not one.serves("other")


def test_without_tenants_it_serves_all() -> None:
    (one,) = read_directories([FINE], FOLDER, {"main"})
    assert one.serves("main")
    assert one.serves("other")


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"urls": []}, "urls"),
        ({"urls": ["http://ldap.corp.example"]}, "urls"),
        ({"urls": ["ldapi:///var/run/slapd"]}, "urls"),
        ({"urls": ["ldaps://user@ldap.corp.example"]}, "urls"),
        ({"urls": ["ldaps://ldap.corp.example/dc=corp"]}, "urls"),
        ({"urls": ["ldap://ldap.corp.example"], "clear_text_on_loopback": True}, "urls"),
        ({"urls": ["ldap://localhost"], "clear_text_on_loopback": True}, "urls"),
        ({"urls": ["ldaps://127.0.0.1"], "clear_text_on_loopback": True}, "urls"),
        ({"bind_dn": " "}, "bind_dn"),
        ({"base": ""}, "base"),
        ({"filter": "(uid=*)"}, "filter"),
        ({"filter": "(uid={login}*)"}, "filter"),
        ({"id_attribute": "mail"}, "id_attribute"),
        ({"id_attribute": "distinguishedName"}, "id_attribute"),
        ({"tenants": ["nobody"]}, "tenants"),
        ({"name": "Corp AD"}, "name"),
        ({"name": "a:b"}, "name"),
        ({"tls_minimum": "1.1"}, "tls_minimum"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"bind_password": "x"}, "bind_password"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(change: dict[str, Any], about: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        read_directories([FINE | change], FOLDER, {"main"})
    assert about in refused.value.name


def test_clear_text_is_for_this_machine_by_number() -> None:
    read_directories([FINE | {"urls": ["ldap://127.0.0.1:389"], "clear_text_on_loopback": True}], FOLDER, {"main"})


def test_a_name_is_given_once() -> None:
    with pytest.raises(SettingInvalid):
        read_directories([FINE, FINE], FOLDER, {"main"})


def test_it_has_to_be_a_list_of_sections() -> None:
    with pytest.raises(SettingInvalid):
        read_directories({"name": "corp"}, FOLDER, {"main"})


def test_every_setting_is_documented() -> None:
    readme = (Path(config.__file__).parent / "README.md").read_text(encoding="utf-8")
    for item in dataclasses.fields(DirectorySettings):
        assert f"| `{item.name}` |" in readme
        assert item.metadata["help"] in readme


def test_a_provider_and_a_directory_do_not_share_a_name() -> None:
    provider = {"name": "corp", "label": "Corp", "client_id": "x", "issuer": "https://id.example.org"}
    with pytest.raises(SettingInvalid):
        read_sign_in({"provider": [provider], "directory": [FINE]}, FOLDER, {"main"})
    kept = read_sign_in({"provider": [provider | {"name": "sso"}], "directory": [FINE]}, FOLDER, {"main"})
    assert dict(kept.issuers) == {"sso": "https://id.example.org", "corp": "ldap:corp"}
