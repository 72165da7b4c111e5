"""The four formats, read back by readers written from their specifications."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.entry import AuditEntry, encode
from audit.siem import cef, ecs, ocsf, syslog
from audit.siem.view import Severity, View, view_of
from audit.tree import leaf_hash

AT = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
PLAIN: dict[str, Any] = {
    "actor": "u1", "actor_login": "lin.sales", "at": AT, "client": "192.0.2.7", "entity": "contact", "exchange": "x1",
    "fields": {"shown": {"contact.phone": {"7": {"masked": 1}}}}, "id": "e1", "kind": "decision", "method": "GET",
    "operation": "contact.read", "policy": "p1", "reason": "allowed", "record": "7", "status": 200, "tenant": "demo",
}  # fmt: skip
LOGINS = st.text(max_size=40)


def view(**changes: Any) -> View:
    entry = AuditEntry(**{**PLAIN, **changes})
    body = encode(entry)
    return view_of(41, entry.at, leaf_hash(body), body)


# RFC 5424, section 6, for what this sender may write.
MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32})"
    rb' (-|\[[!-~]{1,32}(?: [!-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\]) (.*)',
    re.DOTALL,
)
PARAMETER = re.compile(rb' ([!-~]+?)="((?:[^"\\\]]|\\["\\\]])*)"')


def read_syslog(message: bytes) -> tuple[int, dict[str, str], bytes]:
    found = MESSAGE.fullmatch(message)
    assert found is not None, message
    values = {
        key.decode(): re.sub(rb'\\(["\\\]])', rb"\1", value).decode() for key, value in PARAMETER.findall(found[7])
    }
    return int(found[1]), values, found[8]


def read_cef(line: bytes) -> tuple[list[str], dict[str, str]]:
    text = line.decode()
    assert "\n" not in text
    assert "\r" not in text
    head = re.split(r"(?<!\\)(?:\\\\)*\|", text, maxsplit=7)
    parts = re.split(r" (?=[A-Za-z0-9]+=)", head[7])
    pairs = dict(re.split(r"(?<!\\)=", part, maxsplit=1) for part in parts)
    return head[:7], {key: re.sub(r"\\([\\=])", r"\1", value) for key, value in pairs.items()}


def test_a_syslog_message_carries_names_as_data_and_the_canonical_bytes() -> None:
    one = view()
    priority, data, message = read_syslog(syslog.render(one, "gate-1"))
    assert priority == 13 * 8 + 6
    assert data["leaf"] == one.leaf.hex()
    assert (data["index"], data["login"], data["status"]) == ("41", "lin.sales", "200")
    assert message == b"\xef\xbb\xbf" + one.body
    assert leaf_hash(message[3:]) == bytes.fromhex(data["leaf"])


def test_a_frame_says_its_length_in_octets() -> None:
    message = "数".encode()
    assert syslog.frame(message) == b"3 " + message


@given(login=LOGINS, host=LOGINS)
def test_no_login_or_host_name_breaks_a_syslog_message(login: str, host: str) -> None:
    one = view(actor_login=login)
    _, data, message = read_syslog(syslog.render(one, host))
    assert data["index"] == "41"
    assert json.loads(message[3:])["actor_login"] == one.content["actor_login"]


@given(login=LOGINS)
def test_no_login_adds_a_field_to_cef(login: str) -> None:
    head, pairs = read_cef(cef.render(view(actor_login=login)))
    assert head[:2] == ["CEF:0", "crmgate"]
    assert pairs["externalId"] == "e1"
    assert pairs["cs5"] == view(actor_login=login).leaf.hex()
    assert set(pairs) <= set(read_cef(cef.render(view()))[1])


def test_cef_escapes_what_its_grammar_reserves() -> None:
    head, pairs = read_cef(cef.render(view(actor_login="a=b\\c|d\ne", operation="x|y")))
    assert pairs["suser"] == "a=b\\c|d e"
    assert head[5] == "x\\|y"


def test_a_label_without_its_value_is_left_out_of_cef() -> None:
    pairs = read_cef(cef.render(view(record="", policy="")))[1]
    assert not {"cs2", "cs2Label", "cs3", "cs3Label"} & set(pairs)
    assert pairs["cs1Label"] == "entity"


@pytest.mark.parametrize(
    ("changes", "kind", "activity"),
    [
        ({"kind": "sign-in", "reason": "signed-in"}, 3002, 1),
        ({"kind": "sign-in", "reason": "signed-out"}, 3002, 2),
        ({"kind": "console", "method": "POST"}, 3004, 1),
        ({"kind": "policy", "method": ""}, 3004, 99),
        ({}, 6001, 2),
        ({"method": "DELETE", "status": 403}, 6001, 4),
    ],
)
def test_ocsf_events_have_what_their_class_requires(changes: dict[str, Any], kind: int, activity: int) -> None:
    event = json.loads(ocsf.render(view(**changes)))
    assert event["class_uid"] == kind
    assert event["activity_id"] == activity
    assert event["type_uid"] == kind * 100 + activity
    assert event["category_uid"] == kind // 1000
    assert event["time"] == 1772600767890
    assert event["metadata"]["version"] == "1.6.0"
    assert event["metadata"]["product"]["vendor_name"]
    assert event["severity_id"] in range(7)
    needed = {3002: "user", 3004: "entity", 6001: "web_resources"}[kind]
    assert event[needed]


ECS_TYPES = {
    "authentication": {"start", "end", "info"},
    "iam": {"admin", "change", "creation", "deletion", "group", "info", "user"},
    "web": {"access", "error", "info"},
}


@pytest.mark.parametrize("kind", ["decision", "outcome", "sign-in", "console", "alarm", "keys"])
@pytest.mark.parametrize("status", [0, 200, 403])
def test_ecs_types_are_those_expected_for_the_category(kind: str, status: int) -> None:
    event = json.loads(ecs.render(view(kind=kind, status=status)))
    (category,) = event["event"]["category"]
    assert set(event["event"]["type"]) <= ECS_TYPES[category]
    assert event["event"]["outcome"] == ("failure" if status == 403 else "success")
    assert event["@timestamp"] == "2026-03-04T05:06:07.890123Z"
    assert ("response" in event["http"]) is bool(status)


def test_what_is_empty_is_left_out_of_json() -> None:
    event = json.loads(ocsf.render(view(client="", actor="", actor_login="")))
    assert "src_endpoint" not in event
    assert "actor" not in event


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, Severity.INFORMATIONAL), ({"status": 403}, Severity.WARNING),
        ({"kind": "console", "operation": "console.users", "reason": "user-changed"}, Severity.NOTICE),
        ({"kind": "policy", "operation": "policy.publish", "reason": "published"}, Severity.WARNING),
        ({"kind": "console", "operation": "user.reset_alone", "reason": "done"}, Severity.ALERT),
        ({"kind": "something-new"}, Severity.WARNING),
        ({"kind": "alarm", "status": 0}, Severity.ALERT),
    ],
)  # fmt: skip
def test_severity_says_what_asks_for_an_eye(changes: dict[str, Any], severity: Severity) -> None:
    assert view(**changes).severity is severity


def test_every_format_carries_place_and_leaf_hash() -> None:
    one = replace(view(), index=9)
    for text in (syslog.render(one, "h"), cef.render(one), ocsf.render(one), ecs.render(one)):
        assert one.leaf.hex().encode() in text
        assert re.search(rb'(index="|cn1=|"sequence":)9\b', text)


def test_every_format_has_the_tag_of_the_catalogue() -> None:
    told = view(kind="sign-in", operation="access.sign_in", reason="signed-out")
    tag = "access:session:ended"
    assert read_cef(cef.render(told))[1]["cat"] == tag
    assert json.loads(ecs.render(told))["event"]["code"] == tag
    assert json.loads(ocsf.render(told))["metadata"]["labels"] == [tag]
    assert f' tag="{tag}"'.encode() in syslog.render(told, "node-1")
