"""The fast writing of an entry gives the bytes that orjson gives, and never more than the checked writing lets pass."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from audit.entry import AuditEntry, EntryRefused, decode, encode

OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z
NAMES = ("actor", "client", "entity", "exchange", "id", "kind", "method", "operation", "path_shape", "policy")
OTHERS = ("reason", "record", "tenant")
PLAIN = st.text(st.sampled_from("abz019._-/{}:+"), max_size=20)
ANYTHING = st.one_of(PLAIN, st.text(max_size=20), st.sampled_from(['"', "\\", "a@b", "a b", "\n", 'x","at":"y', "王"]))
LOGINS = st.text(st.characters(codec="utf-8"), max_size=20)
FIELDS = st.dictionaries(
    st.sampled_from(["roles", "session", "shown", "caught", "written"]),
    st.one_of(PLAIN, st.lists(PLAIN, max_size=3), st.dictionaries(PLAIN, st.integers(0, 9), max_size=3)),
    max_size=3,
)
TIMES = st.datetimes(datetime(1000, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


def entry(names: dict[str, Any], login: str, at: datetime, fields: dict[str, Any], status: Any = 200) -> AuditEntry:
    """An entry of these parts."""
    return AuditEntry(**names, actor_login=login, crm_user=login, at=at, fields=fields, status=status)


def names_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    """Every identifier of an entry."""
    return st.fixed_dictionaries(dict.fromkeys((*NAMES, *OTHERS), values))


@given(names_of(PLAIN), LOGINS, TIMES, FIELDS, st.integers(0, 999))
def test_a_plain_entry_is_written_as_orjson_writes_it(
    names: dict[str, str], login: str, at: datetime, fields: dict[str, Any], status: int
) -> None:
    made = entry(names, login, at, fields, status)
    assert encode(made) == orjson.dumps(made, option=OPTIONS)


@given(names_of(ANYTHING), ANYTHING, TIMES, FIELDS)
def test_whatever_is_written_can_be_read_and_says_no_more(
    names: dict[str, str], login: str, at: datetime, fields: dict[str, Any]
) -> None:
    content = decode(encode(entry(names, login, at, fields)))
    assert all(content[name] in (value, "~") for name, value in names.items())


def test_a_status_or_a_time_of_another_kind_takes_the_checked_way() -> None:
    names = dict.fromkeys((*NAMES, *OTHERS), "a")
    at = datetime(2026, 11, 1, 8, tzinfo=UTC)
    plain = encode(entry(names, "l", at, {}, 1))
    assert b'"status":0,' in encode(entry(names, "l", at, {}, 1000))
    assert encode(entry(names, "l", at.astimezone(timezone(timedelta(hours=8))), {}, 1)) == plain
    assert encode(entry(names, "l", at, {}, 1)) == plain
    try:
        encode(entry(names, "l", at.replace(tzinfo=None), {}, 1))
    except EntryRefused:
        return
    raise AssertionError("a time without zone was written")
