"""Who may come in from where and when: every list and every window that names somebody has to let them in."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.entry import Entry, ListInvalid, Window, require_own, written
from gateway.entry_config import EntrySettings, RoleEntrySettings, entry_of, hours_of
from gateway.exchange import Principal
from gateway.refusal import HOUR_NOT_ALLOWED, PLACE_NOT_ALLOWED, Reason, Refusal

SHANGHAI = "Asia/Shanghai"
OFFICE, HOME, OFFICE6 = "203.0.113.9", "198.51.100.7", "2001:db8::9"
MONDAY = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)  # nine in the morning in Shanghai


def who(*roles: str, networks: str = "") -> Principal:
    return Principal("u-1", "li.wei", roles, "main", "s-1", networks=networks)


def entry(**roles: RoleEntrySettings) -> Entry:
    made = entry_of(EntrySettings(roles=roles))
    assert made is not None
    return made


def told(rules: Entry, principal: Principal, address: str, now: datetime = MONDAY) -> Reason | None:
    try:
        rules.require(principal, address, now)
    except Refusal as refused:
        return refused.reason
    return None


def nets(*texts: str) -> RoleEntrySettings:
    return RoleEntrySettings(networks=tuple(ip_network(one) for one in texts))


class TestPlaces:
    def test_a_role_with_a_list_comes_from_there_only_in_both_families(self) -> None:
        rules = entry(sales=nets("203.0.113.0/24", "2001:db8::/32"))
        assert told(rules, who("sales"), OFFICE) is None
        assert told(rules, who("sales"), OFFICE6) is None
        assert told(rules, who("sales"), HOME) is PLACE_NOT_ALLOWED
        assert told(rules, who("sales"), "2001:db9::1") is PLACE_NOT_ALLOWED
        assert told(rules, who("manager"), HOME) is None

    def test_a_second_role_does_not_open_what_the_first_closes(self) -> None:
        rules = entry(sales=nets("203.0.113.0/24"), manager=nets("198.51.100.0/24"))
        assert told(rules, who("sales", "auditor"), HOME) is PLACE_NOT_ALLOWED
        assert told(rules, who("manager", "sales"), OFFICE) is PLACE_NOT_ALLOWED

    def test_a_persons_list_holds_beside_that_of_the_role(self) -> None:
        rules = entry(sales=nets("203.0.113.0/24"))
        assert told(rules, who("sales", networks="203.0.113.0/28"), OFFICE) is None
        assert told(rules, who("sales", networks="203.0.113.128/25"), OFFICE) is PLACE_NOT_ALLOWED
        assert told(rules, who("sales", networks="198.51.100.0/24"), HOME) is PLACE_NOT_ALLOWED

    def test_a_changed_list_is_asked_anew(self) -> None:
        require_own("203.0.113.9/32", OFFICE)
        with pytest.raises(Refusal):
            require_own("203.0.113.8/32", OFFICE)
        require_own("", OFFICE)

    def test_a_list_is_kept_in_one_spelling(self) -> None:
        assert written(["2001:DB8::/32", " 10.1.0.0/16", "203.0.113.7", "10.1.0.0/16"]) == (
            "10.1.0.0/16 203.0.113.7/32 2001:db8::/32"
        )
        assert written([]) == ""

    @pytest.mark.parametrize("text", ["10.1.0.1/16", "office", "10.0.0.0/33", "", "::ffff:10.0.0.0/104"])
    def test_what_is_no_network_or_would_match_nobody_is_refused(self, text: str) -> None:
        with pytest.raises(ListInvalid):
            written(["10.1.0.0/16", text])

    def test_a_list_has_an_end(self) -> None:
        with pytest.raises(ListInvalid):
            written([f"10.0.{number}.0/24" for number in range(65)])

    @given(
        st.lists(st.ip_addresses(v=4).map(lambda one: ip_network(f"{one}/12", strict=False)), min_size=1, max_size=5),
        st.ip_addresses(v=4),
    )
    def test_a_list_lets_in_exactly_what_is_inside(self, networks: list, address) -> None:  # type: ignore[no-untyped-def, type-arg]
        rules = entry(sales=nets(*(str(one) for one in networks)))
        inside = any(int(one[0]) <= int(address) <= int(one[-1]) for one in networks)
        assert (told(rules, who("sales"), str(ip_address(address))) is None) == inside


class TestHours:
    def at(self, text: str, zone: str, moment: datetime) -> bool:
        return hours_of((text,), zone, "entry").hold(moment)

    def test_a_window_ends_at_its_minute(self) -> None:
        at_eight = datetime(2026, 3, 2, 20, 0, tzinfo=ZoneInfo(SHANGHAI))
        assert self.at("Mon-Fri 08:00-20:00", SHANGHAI, at_eight - timedelta(microseconds=1))
        assert not self.at("Mon-Fri 08:00-20:00", SHANGHAI, at_eight)

    def test_the_days_are_those_of_the_time_zone(self) -> None:
        sunday_utc = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)  # Monday, half past seven, in Shanghai
        assert self.at("Mon 07:00-08:00", SHANGHAI, sunday_utc)
        assert not self.at("Mon 07:00-08:00", "UTC", sunday_utc)

    def test_across_midnight_it_belongs_to_the_day_it_begins_on(self) -> None:
        for text, inside in (("2026-03-06T23:00", True), ("2026-03-07T05:59", True), ("2026-03-07T06:00", False),
                             ("2026-03-06T05:00", False), ("2026-03-07T22:30", False)):  # fmt: skip
            moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(SHANGHAI))
            assert self.at("Fri 22:00-06:00", SHANGHAI, moment) is inside, text

    def test_summer_time_moves_the_window_with_the_clock(self) -> None:
        assert not self.at("08:00-09:00", "Europe/Berlin", datetime(2026, 3, 28, 6, 30, tzinfo=UTC))
        assert self.at("08:00-09:00", "Europe/Berlin", datetime(2026, 3, 30, 6, 30, tzinfo=UTC))

    def test_hours_of_the_crm_and_of_the_role_hold_both(self) -> None:
        rules = entry_of(
            EntrySettings(("08:00-20:00",), SHANGHAI, {"sales": RoleEntrySettings(hours=("Sat 10:00-12:00",))})
        )
        assert rules is not None
        assert told(rules, who("sales"), HOME) is HOUR_NOT_ALLOWED
        assert told(rules, who("manager"), HOME) is None
        assert told(rules, who("manager"), HOME, MONDAY + timedelta(hours=12)) is HOUR_NOT_ALLOWED

    @given(
        st.frozensets(st.integers(0, 6), min_size=1),
        st.integers(0, 1439),
        st.integers(1, 1440),
        st.integers(0, 7 * 1440 - 1),
    )
    def test_a_window_holds_exactly_the_minutes_after_its_begin(
        self, days: frozenset[int], start: int, length: int, minute: int
    ) -> None:
        moment = datetime(2026, 3, 2) + timedelta(minutes=minute)  # noqa: DTZ001 - a wall clock
        begins = [(day * 1440 + start) for day in days]
        inside = any((minute - begin) % (7 * 1440) < length for begin in begins)
        assert Window(days, start, length).holds(moment) is inside
