"""Opened entries in memory are bounded and never outlive their key."""

import pytest

from kms.entry import VaultEntry
from kms.opened import OpenedEntries


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(clock: Clock) -> OpenedEntries:
    return OpenedEntries(most=5, value_s=300, origin_s=5, unknown_s=2, clock=clock)


def keep(opened: OpenedEntries, surrogate: str, tenant: str = "t", until: float = 1000) -> VaultEntry:
    entry = VaultEntry(surrogate, "name", "clear", (), {})
    opened.keep(tenant, entry, b"blob", {}, 0, until)
    return entry


def test_what_is_kept_is_found_in_its_tenant_only(opened: OpenedEntries) -> None:
    entry = keep(opened, "a")
    assert opened.get("t", ["a", "b"]) == ({"a": entry}, ["b"])
    assert opened.get("u", ["a"]) == ({}, ["a"])


def test_origins_age_in_seconds_and_values_in_minutes(opened: OpenedEntries, clock: Clock) -> None:
    keep(opened, "a")
    clock.now = 5
    assert opened.get("t", ["a"]) == ({}, ["a"])
    assert opened.stale("t", "a") is not None
    clock.now = 300
    assert opened.stale("t", "a") is None


def test_nothing_outlives_its_key(opened: OpenedEntries, clock: Clock) -> None:
    keep(opened, "a", until=3)
    clock.now = 3
    assert opened.get("t", ["a"]) == ({}, ["a"])
    assert opened.stale("t", "a") is None


def test_the_number_of_entries_is_bounded_over_all_tenants(opened: OpenedEntries) -> None:
    for number in range(40):
        keep(opened, str(number % 13), tenant=str(number % 3))
        assert len(opened) <= 5
    assert opened.get("0", ["0"])[0]  # the last one kept


def test_unknown_surrogates_are_remembered_briefly(opened: OpenedEntries, clock: Clock) -> None:
    opened.keep_unknown("t", "a")
    assert opened.get("t", ["a"]) == ({}, [])
    assert opened.stale("t", "a") is None
    clock.now = 2
    assert opened.get("t", ["a"]) == ({}, ["a"])


def test_dropping(opened: OpenedEntries) -> None:
    for tenant in "tu":
        for surrogate in "ab":
            keep(opened, surrogate, tenant)
    before = opened.generation
    opened.drop("t", ["a", "c"])
    assert (opened.get("t", ["a"])[1], len(opened)) == (["a"], 3)
    opened.drop_all("t")
    assert (opened.get("t", ["b"])[1], len(opened)) == (["b"], 2)
    opened.drop_all()
    assert len(opened) == 0
    assert opened.generation == before + 3


def test_what_was_read_before_a_change_is_not_kept_after_it(
    opened: OpenedEntries, monkeypatch: pytest.MonkeyPatch
) -> None:
    since = opened.generation
    opened.drop("t", ["a"])
    assert [opened.may_keep("t", one, since) for one in "ab"] == [False, True]
    assert opened.may_keep("t", "a", opened.generation)
    opened.drop_all("u")
    assert not opened.may_keep("t", "b", since)
    monkeypatch.setattr("kms.opened._DROPPED", 3)
    since = opened.generation
    for number in range(9):
        opened.drop("t", [str(number)])
    assert not opened.may_keep("t", "0", since)
