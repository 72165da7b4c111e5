"""Canonical bytes, and no way for a value to get into them as a name."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.entry import ENTRY_LIMIT_BYTES, FIELD_KEYS, NOT_RECORDED, AuditEntry, EntryRefused, decode, encode, settle
from audit.event_row import rows_of

AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


def entry(**changes: Any) -> AuditEntry:
    plain: dict[str, Any] = {"at": AT, "fields": {}, "id": "e1", "kind": "decision", "tenant": "demo"}
    return AuditEntry(**{**plain, **changes})


def test_the_bytes_are_json_with_sorted_keys_and_no_spaces() -> None:
    body = encode(
        entry(
            actor="u1",
            actor_login="lin.wei@example.org",
            fields={"shown": {"contact.phone": {"7": {"masked": 2}}}, "caught": {"email": 1}},
            status=200,
        )
    )
    assert body == (
        b'{"actor":"u1","actor_login":"lin.wei@example.org","at":"2026-03-04T05:06:07.890123Z","client":"","crm_user":"",'
        b'"data_subject":"","entity":"","exchange":"","fields":{"caught":{"email":1},"shown":{"contact.phone":{"7":{"masked":2}}}},'
        b'"id":"e1","kind":"decision","method":"","operation":"","path_shape":"","policy":"","reason":"","record":"",'
        b'"status":200,"tenant":"demo","version":2}'
    )
    assert body == orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)


def test_times_are_written_in_utc() -> None:
    shifted = AT.astimezone(timezone(timedelta(hours=8)))
    assert encode(entry(at=shifted)) == encode(entry(at=AT))


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(EntryRefused):
        encode(entry(at=AT.replace(tzinfo=None)))


@pytest.mark.parametrize("key", ["value", "body", "email", "SHOWN"])
def test_an_unknown_key_is_refused(key: str) -> None:
    with pytest.raises(EntryRefused) as refused:
        encode(entry(fields={key: 1}))
    assert key in str(refused.value)
    assert refused.value.permanent


def test_an_unknown_key_that_is_a_value_is_not_repeated_in_the_message() -> None:
    with pytest.raises(EntryRefused) as refused:
        encode(entry(fields={"zhang.wei@example.org": 1}))
    assert "zhang" not in str(refused.value)


@pytest.mark.parametrize(
    "value", ["张伟", "zhang.wei@example.org", "Zhang Wei", 'a"b', "x\ny", "<b>", "a\\u0040b", "é"]
)
@pytest.mark.parametrize("place", ["record", "entity", "operation", "reason", "path_shape", "client", "policy"])
def test_what_is_no_identifier_is_not_recorded_as_one(value: str, place: str) -> None:
    clean, body = settle(entry(**{place: value}))
    assert getattr(clean, place) == NOT_RECORDED
    assert decode(body)[place] == NOT_RECORDED


def test_the_same_holds_for_names_within_fields() -> None:
    fields = {
        "refused": ["contact.phone", "zhang@example.org", "电话"],
        "shown": {"张伟": {"7": {"clear": 1}}},
        "detail": {"b c"},
        "written": ("contact.email",),
        "count": 3.5,
        "bytes": None,
    }
    found = decode(encode(entry(fields=fields)))["fields"]
    assert found == {
        "refused": ["contact.phone", "~", "~"],
        "shown": {"~": {"7": {"clear": 1}}},
        "detail": ["~"],
        "written": ["contact.email"],
        "count": "~",
        "bytes": None,
    }


def test_logins_may_be_any_text_but_stay_short_and_on_one_line() -> None:
    body = encode(entry(actor_login='林"\n' + "长" * 1000, crm_user="\ud800x"))
    assert b"\n" not in body
    assert len(decode(body)["actor_login"]) <= 256
    assert decode(body)["crm_user"] == "?x"


def test_a_status_that_is_none_is_written_as_zero() -> None:
    assert decode(encode(entry(status=70_000)))["status"] == 0
    assert decode(encode(entry(status="200")))["status"] == 0


def test_a_long_entry_is_cut_and_says_how_much_was_left_out() -> None:
    shown = {f"contact.field{number}": {"7": {"masked": 1}} for number in range(5000)}
    body = encode(entry(fields={"shown": shown, "caught": {"email": 2}}))
    assert len(body) <= ENTRY_LIMIT_BYTES
    found = decode(body)["fields"]
    assert found["caught"] == {"email": 2}
    assert len(found["shown"]) + found["omitted"]["shown"] == 5000


def test_one_long_name_cannot_make_an_entry_too_long() -> None:
    body = encode(entry(record="9" * 100_000, actor_login="x" * 100_000, fields={"detail": "y" * 100_000}))
    assert len(body) < 2000
    assert decode(body)["record"] == NOT_RECORDED


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.replace(b'"version":2', b'"version":1'),
        lambda body: body.replace(b'"version":2', b'"version":3'),
        lambda body: body.replace(b'"data_subject":"",', b""),
        lambda body: body.replace(b",", b", ", 1),
        lambda body: body + b" ",
        lambda body: body.replace(b'"actor":"",', b""),
        lambda body: body.replace(b'"record":""', b'"record":null'),
        lambda body: body.replace(b'"fields":{}', b'"fields":{"shown":1,"caught":1}'),
        lambda body: body.replace(b'"fields":{}', b'"fields":{{}'),
        lambda body: b"",
    ],
)
def test_bytes_that_encode_could_not_have_written_are_refused(change: Any) -> None:
    with pytest.raises(EntryRefused):
        decode(change(encode(entry())))


def test_entries_of_version_1_stay_what_they_are() -> None:
    body = encode(entry(record="42", fields={"shown": {"contact.phone": {"42": {"masked": 1}}}}))
    first = body.replace(b'"data_subject":"",', b"").replace(b'"version":2', b'"version":1')
    found = decode(first)
    assert (found["record"], found["version"], "data_subject" in found) == ("42", 1, False)
    row, (sight,) = rows_of(7, AT, bytes(32), first)
    assert (row["record"], row["data_subject"], sight["record"]) == ("42", "", "42")


def test_an_entry_says_whom_it_is_about() -> None:
    person = "ds_" + "A" * 22
    body = encode(entry(data_subject=person, record=person))
    assert rows_of(7, AT, bytes(32), body)[0]["data_subject"] == person


def test_a_renamed_entry_is_the_same_but_for_its_names() -> None:
    names = [name for name in AuditEntry.__slots__ if name not in ("at", "fields", "status", "version")]
    whole = entry(**{name: name for name in names}, status=201, fields={"count": 1})
    found = whole.renamed("r", "d", {"count": 2})
    assert found == replace(whole, record="r", data_subject="d", fields={"count": 2})


texts = st.text(max_size=40) | st.from_regex(r"[a-z.:_-]{0,30}", fullmatch=True)
nested = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=12,
)


@given(
    fields=st.dictionaries(st.sampled_from(sorted(FIELD_KEYS)), nested, max_size=4),
    names=st.tuples(texts, texts, texts, texts),
)
def test_whatever_comes_is_written_canonically_and_read_back(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    given_entry = entry(fields=fields, record=names[0], actor_login=names[1], operation=names[2], crm_user=names[3])
    clean, body = settle(given_entry)
    content = decode(body)
    assert encode(clean) == body
    assert content["record"] in (names[0], NOT_RECORDED)
    named = orjson.dumps({name: value for name, value in content.items() if name not in ("actor_login", "crm_user")})
    assert named.isascii()
    assert b"@" not in named
    assert b" " not in named


def test_a_valid_entry_is_kept_as_the_same_object() -> None:
    plain = entry(actor="u1")
    assert settle(plain)[0] is plain
    assert settle(replace(plain, record="a b"))[0] is not plain
