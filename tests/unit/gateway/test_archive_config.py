"""[audit.archive] and [audit.retention.NAME]: what belongs together is asked for together."""

import tomllib
from pathlib import Path

import pytest

from audit.archive import NoArchive
from audit.cold.folder import FolderArchive
from audit.cold.s3 import S3Archive
from gateway.archive_config import retention_of
from gateway.composition_archive import archive_of, store_of
from gateway.settings import Settings
from gateway.settings_file import build_settings
from gateway.toml_tree import SettingInvalid
from tests.unit.gateway.archive_worker import SIGNER

PLAIN = '[tenant.main]\nupstream = "http://127.0.0.1:1"\nprofile = "creme"\npublic_url = "https://crm.example.org"\n'
KEYS = 'access_key_file = "id"\nsecret_key_file = "key"\n'


def settings(tmp_path: Path, text: str) -> Settings:
    return build_settings(tomllib.loads(PLAIN + text), tmp_path / "crmgate.toml")


def test_without_a_word_nothing_is_sealed(tmp_path: Path) -> None:
    assert isinstance(archive_of(settings(tmp_path, ""), "", SIGNER.verifier), NoArchive)


def test_a_folder_and_a_bucket_are_archives(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("AKIA\n")
    (tmp_path / "key").write_text("secret\n")
    assert isinstance(store_of(settings(tmp_path, '[audit.archive]\nto = "file:///srv/audit"').archive), FolderArchive)
    bucket = settings(tmp_path, f'[audit.archive]\nto = "s3://trail/gate"\n{KEYS}endpoint = "http://127.0.0.1:1"')
    assert isinstance(store_of(bucket.archive), S3Archive)


def test_a_key_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match=r"audit\.archive\.access_key_file"):
        store_of(settings(tmp_path, f'[audit.archive]\nto = "s3://trail"\n{KEYS}').archive)


def test_classes_become_rules(tmp_path: Path) -> None:
    text = """
    [audit.archive]
    keep_days = 2000
    [audit.retention.brief]
    days = 200
    law = "Art. 19"
    kinds = ["sign-in"]
    """
    found = settings(tmp_path, text)
    rules = retention_of(found.archive, found.retention)
    assert rules.class_of({"kind": "sign-in", "operation": ""}) == "brief"
    assert (rules.otherwise.name, rules.otherwise.days) == ("five-years", 2000)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[audit.archive]\nto = "/srv/audit"', "audit.archive.to"),
        ('[audit.archive]\nto = "file://host/audit"', "audit.archive.to"),
        (f'[audit.archive]\nto = "s3://key:secret@trail"\n{KEYS}', "audit.archive.to"),
        ('[audit.archive]\nto = "s3://trail"', "audit.archive.access_key_file"),
        (f'[audit.archive]\nto = "s3://trail"\n{KEYS}endpoint = "http://s3.example.org"', "audit.archive.endpoint"),
        ("[audit.archive]\nkeep_days = 0", "audit.archive.keep_days"),
        ("[audit.archive]\nwhere = 1", "audit.archive.where"),
        ("[audit.retention.short]\ndays = 3", "audit.retention.short"),
        ('[audit.retention.short]\nkinds = ["x"]', "audit.retention.short.days"),
        ('[audit.retention.five-years]\ndays = 3\nkinds = ["x"]', "audit.retention.five-years"),
        ("[audit]\nretention = 3", "audit.retention"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, name: str) -> None:
    with pytest.raises(SettingInvalid) as said:
        settings(tmp_path, text)
    assert said.value.name == name
