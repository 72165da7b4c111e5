"""[siem.NAME]: where the trail goes; what would leave unencrypted or unknown is an error that says what to write."""

from pathlib import Path
from typing import Any

import pytest

from gateway.settings_file import build_settings
from gateway.siem_config import SiemFormat, read_siem
from gateway.toml_tree import SettingInvalid

HERE = Path("/x")
TENANTS = {"main": object()}


MAIN = {"main": {"upstream": "http://127.0.0.1:1", "public_url": "https://crm.localhost", "profile": "creme"}}


def test_a_way_out_is_read_with_its_defaults() -> None:
    raw = {"tenant": MAIN, "siem": {"soc": {"to": "tls://siem.example.org", "ca": "ca.pem"}}}
    found = build_settings(raw, HERE / "crmgate.toml").siem["soc"]
    assert found.format is SiemFormat.SYSLOG
    assert found.ca == HERE / "ca.pem"
    assert found.tenants == ()


def test_without_the_section_nothing_is_forwarded() -> None:
    assert not build_settings({"tenant": MAIN}, HERE / "crmgate.toml").siem


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ({}, "siem.soc.to"),
        ({"to": "http://siem.example.org/"}, "siem.soc.to"),
        ({"to": "tcp://siem.example.org:514"}, "siem.soc.to"),
        ({"to": "siem.example.org"}, "siem.soc.to"),
        ({"to": "tls://"}, "siem.soc.to"),
        ({"to": "tls://h:99999"}, "siem.soc.to"),
        ({"to": "https://user:word@h/"}, "siem.soc.to"),
        ({"to": "file://host/x"}, "siem.soc.to"),
        ({"to": "file:relative"}, "siem.soc.to"),
        ({"to": "tls://h", "format": "leef"}, "siem.soc.format"),
        ({"to": "tls://h", "tenants": ["other"]}, "siem.soc.tenants"),
        ({"to": "tls://h", "certificate": "c.pem"}, "siem.soc.certificate"),
        ({"to": "tls://h", "authorization_file": "a"}, "siem.soc.authorization_file"),
        ({"to": "tls://h", "url": "x"}, "siem.soc.url"),
    ],
)
def test_what_cannot_be_meant_is_said(raw: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingInvalid) as told:
        read_siem({"soc": raw}, HERE, TENANTS)
    assert told.value.name == name


@pytest.mark.parametrize("raw", [[], {"soc": []}, "tls://h"])
def test_sections_need_names(raw: object) -> None:
    with pytest.raises(SettingInvalid):
        read_siem(raw, HERE, TENANTS)
