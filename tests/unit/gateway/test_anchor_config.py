"""[audit.anchor]: what belongs together is asked for together, and becomes the anchors it names."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from audit.anchor_folder import FolderAnchor
from audit.note import Signer
from gateway.anchor_config import read_anchors
from gateway.composition_integrity import anchors_of
from gateway.settings import Settings
from gateway.settings_file import build_settings
from gateway.toml_tree import SettingInvalid
from tests.real.certificates import Authority
from tests.real.witness import vkey

KEY = vkey(bytes(32))
VERIFIER = Signer(bytes(32)).verifier
PLAIN = '[tenant.main]\nupstream = "http://127.0.0.1:1"\nprofile = "creme"\npublic_url = "https://crm.example.org"\n'


def settings(tmp_path: Path, text: str) -> Settings:
    return build_settings(tomllib.loads(PLAIN + text), tmp_path / "crmgate.toml")


def names(tmp_path: Path, text: str) -> dict[str, Any]:
    made = anchors_of(settings(tmp_path, text), VERIFIER, lambda: None)  # type: ignore[arg-type,return-value]
    return {one.name: one for one in made}


def test_without_a_word_there_is_a_folder_beside_the_key_and_it_is_not_outside(tmp_path: Path) -> None:
    [(name, one)] = names(tmp_path, "").items()
    assert (name, one.outside, one.every_s) == ("folder", False, 60)
    assert isinstance(one, FolderAnchor)


def test_each_place_that_is_named_is_an_anchor(tmp_path: Path) -> None:
    ca = Authority(tmp_path).ca
    text = f"""
    [audit]
    checkpoint_seconds = 5
    [audit.anchor]
    folder = "share"
    folder_minutes = 2
    witnesses = ["{KEY} https://witness.example.org/"]
    timestamp_url = "http://stamps.example.org/tsa"
    timestamp_ca = "{ca}"
    mail_to = "auditor@example.org"
    mail_from = "crmgate@example.org"
    mail_server = "mail.example.org:587"
    s3_bucket = "checkpoints"
    s3_credentials_file = "s3"
    """
    (tmp_path / "s3").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    made = names(tmp_path, text)
    assert list(made) == ["folder", "witness witness.example/w1", "time-stamp", "mail", "s3"]
    assert [one.outside for one in made.values()] == [True] * 5
    assert [one.every_s for one in made.values()] == [120, 300, 86_400, 86_400, 3600]
    assert settings(tmp_path, text).audit.checkpoint_seconds == 5


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ({"witnesses": ["nonsense https://w.example.org"]}, "witnesses"),
        ({"witnesses": [KEY]}, "witnesses"),
        ({"witnesses": [f"{KEY} file:///etc/passwd"]}, "witnesses"),
        ({"witnesses": [f"{KEY} https://u:p@w.example.org"]}, "witnesses"),
        ({"timestamp_url": "https://t.example.org"}, "timestamp_ca"),
        ({"timestamp_ca": "ca.pem"}, "timestamp_ca"),
        ({"timestamp_url": "ftp://t.example.org", "timestamp_ca": "ca.pem"}, "timestamp_url"),
        ({"mail_to": "a@example.org"}, "mail_to"),
        ({"mail_to": "a", "mail_from": "b@example.org", "mail_server": "127.0.0.1:25"}, "mail_to"),
        ({"mail_to": "a@example.org", "mail_from": "b@example.org\n", "mail_server": "127.0.0.1:25"}, "mail_from"),
        (
            {
                "mail_to": "a@example.org",
                "mail_from": "b@example.org",
                "mail_server": "mail.example.org:25",
                "mail_tls": "off",
            },
            "mail_tls",
        ),
        ({"mail_user": "u"}, "mail_user"),
        ({"s3_bucket": "checkpoints"}, "s3_bucket"),
        ({"s3_credentials_file": "f"}, "s3_bucket"),
        ({"s3_bucket": "No/Such", "s3_credentials_file": "f"}, "s3_bucket"),
        ({"s3_endpoint": "http://s3.example.org"}, "s3_endpoint"),
        ({"s3_endpoint": "https://u:p@s3.example.org"}, "s3_endpoint"),
        ({"folder_minutes": 0}, "folder_minutes"),
        ({"foldr": "x"}, "foldr"),
    ],
)
def test_what_does_not_fit_is_said_with_its_name(raw: dict[str, Any], name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid) as said:
        read_anchors(raw, tmp_path)
    assert said.value.name == f"audit.anchor.{name}"


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_roots_that_cannot_be_read_stop_the_start(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    text = '[audit.anchor]\ntimestamp_url = "https://t.example.org/"\ntimestamp_ca = "ca.pem"\n'
    with pytest.raises(SettingInvalid, match="timestamp_ca"):
        names(tmp_path, text)


def test_an_access_key_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    text = '[audit.anchor]\ns3_bucket = "checkpoints"\ns3_credentials_file = "none"\n'
    with pytest.raises(SettingInvalid, match="s3_credentials_file"):
        names(tmp_path, text)
