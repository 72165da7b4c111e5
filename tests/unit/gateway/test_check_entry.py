"""An administrator is told of rules that let nobody in and of rules that bind nobody."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.check_entry import check_entry
from gateway.check_words import SENTENCES
from gateway.settings_file import build_settings
from policies.enforcer import DEFAULT_POLICY, Enforcer

NOW = datetime(2026, 11, 27, 2, 0, tzinfo=UTC)
ROLES = sorted(Enforcer(()).load(DEFAULT_POLICY).roles)


def found(entry: dict[str, Any], folder: Path = Path("/x"), **more: Any) -> list[tuple[str, str]]:
    tenant = {"upstream": "http://127.0.0.1:1", "entry": entry} | more.pop("tenant", {})
    settings = build_settings({"tenant": {"main": tenant}} | more, folder / "crmgate.toml")
    findings = list(check_entry(settings, NOW))
    assert all(one.id in SENTENCES for one in findings)
    return [(one.id, one.place) for one in findings]


def test_rules_that_meet_are_fine() -> None:
    sales = {"networks": ["10.1.2.0/24"], "hours": ["19:59-23:00"]}
    entry = {"hours": ["08:00-20:00"], "time_zone": "Asia/Shanghai", "role": {"sales": sales}}
    assert found(entry, tenant={"allow_networks": ["10.1.0.0/16"]}) == []


@pytest.mark.parametrize(
    "sales",
    [{"networks": ["192.168.0.0/16", "2001:db8::/32"]}, {"hours": ["20:00-23:00"]}, {"hours": ["Sun 08:00-08:30"]}],
)
def test_a_role_that_is_locked_out_is_named(sales: dict[str, list[str]]) -> None:
    entry = {"hours": ["Mon-Sat 08:00-20:00"], "time_zone": "Asia/Shanghai", "role": {"sales": sales}}
    told = found(entry, tenant={"allow_networks": ["10.1.0.0/16"]})
    assert told == [("entry-role-locked-out", "tenant.main.entry.role.sales")]


def test_everybody_locked_out_is_one_finding() -> None:
    entry = {"role": {role: {"networks": ["192.168.0.0/16"]} for role in ROLES}}
    assert found(entry, tenant={"allow_networks": ["10.0.0.0/8"]}) == [("entry-locks-out-all", "tenant.main.entry")]


def test_a_role_nobody_has_is_named() -> None:
    assert found({"role": {"salse": {"networks": ["10.0.0.0/8"]}}}) == [
        ("entry-role-unknown", "tenant.main.entry.role.salse")
    ]


def test_a_file_of_breached_passwords_that_cannot_be_searched_is_told(tmp_path: Path) -> None:
    access = {"breached_passwords": "b.txt"}
    assert found({}, tmp_path, access=access) == [("breached-unusable", "access.breached_passwords")]
    (tmp_path / "b.txt").write_text("0" * 40 + ":1\n")
    assert found({}, tmp_path, access=access) == []
