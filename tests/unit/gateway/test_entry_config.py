"""[tenant.NAME.entry]: what is written is what is judged, and what cannot be meant is said."""

from pathlib import Path
from typing import Any

import pytest

from gateway.entry_config import DAYS, entries_of, hours_of, read_entry
from gateway.settings_file import build_settings
from gateway.toml_tree import SettingInvalid

HERE = Path("/x")


def windows(text: str) -> tuple[set[str], int, int]:
    (window,) = hours_of((text,), "UTC", "entry").windows
    return {DAYS[day] for day in window.days}, window.start, window.length


def test_days_are_spans_lists_or_all() -> None:
    assert windows("Mon-Fri 08:00-20:00") == ({"mon", "tue", "wed", "thu", "fri"}, 480, 720)
    assert windows("sat,Sun 22:00-06:00") == ({"sat", "sun"}, 1320, 480)
    assert windows("Sat-Mon 00:00-24:00") == ({"sat", "sun", "mon"}, 0, 1440)
    assert windows("09:30-10:00") == (set(DAYS), 570, 30)


@pytest.mark.parametrize(
    "text",
    [
        "Mon-Fri 8-20", "Mon-Fri 08:00", "Mo 08:00-09:00", "08:00-08:00", "25:00-26:00", "08:60-09:00", "24:00-08:00",
        "Mon- 08:00-09:00", "08:00-24:01", "", "Mon 08:00-09:00 Tue", "Mon,,Tue 08:00-09:00",
    ],
)  # fmt: skip
def test_hours_that_cannot_be_read_are_an_error(text: str) -> None:
    with pytest.raises(SettingInvalid):
        hours_of((text,), "UTC", "entry")


@pytest.mark.parametrize("zone", ["", "Asia/Nowhere", "../etc/passwd", "/etc/localtime"])
def test_hours_need_a_time_zone_there_is(zone: str) -> None:
    with pytest.raises(SettingInvalid) as told:
        hours_of(("08:00-09:00",), zone, "tenant.main.entry")
    assert told.value.name == "tenant.main.entry.time_zone"


@pytest.mark.parametrize(
    "raw",
    [
        [], {"role": []}, {"role": {"sales": []}}, {"roles": {}}, {"hour": ["08:00-09:00"]},
        {"role": {"sales": {"networks": ["10.0.0.1/8"]}}}, {"role": {"sales": {"hours": ["08:00-09:00"]}}},
    ],
)  # fmt: skip
def test_a_section_that_cannot_be_meant_is_an_error(raw: Any) -> None:
    with pytest.raises(SettingInvalid):
        read_entry(raw, "tenant.main.entry", HERE)


def test_the_section_is_part_of_the_settings() -> None:
    raw = {
        "tenant": {
            "main": {
                "upstream": "http://127.0.0.1:1",
                "entry": {"time_zone": "Asia/Shanghai", "role": {"sales": {"hours": ["Mon-Fri 08:00-20:00"]}}},
            }
        }
    }
    found = entries_of(build_settings(raw, HERE / "crmgate.toml").tenant_entry)
    assert [*found] == ["main"]
    assert str(found["main"].roles["sales"].hours.zone) == "Asia/Shanghai"


def test_nothing_set_is_nothing_judged() -> None:
    assert entries_of({"main": read_entry({"time_zone": "UTC"}, "tenant.main.entry", HERE)}) == {}
