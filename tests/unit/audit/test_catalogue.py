"""Every entry has a tag, tags keep their shape, and the page for people says what the catalogue says."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.catalogue import UNLISTED, catalogue, class_of, families, fits, is_pattern, kinds_of, tag_of
from audit.catalogue_page import PAGE, page
from audit.event_class import FIVE_YEARS, Weight

SHAPE = re.compile(r"[a-z]+(:[a-z]+(-[a-z]+)*){2}")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def entry(kind: str, operation: str, reason: str, status: int = 0, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "operation": operation, "reason": reason, "status": status, "fields": {}} | more


@pytest.mark.parametrize(
    ("content", "tag"),
    [
        (entry("outcome", "contact.card", "allowed", 200, fields={"detail": "read"}), "crm:record:read"),
        (entry("outcome", "contact.card", "allowed", 502, fields={"detail": "read"}), "crm:record:read-failed"),
        (entry("decision", "contact.card", "allowed", fields={"detail": "delete"}), "crm:record:delete-allowed"),
        (entry("decision", "contact.card", "not-allowed", 403, fields={"detail": "list"}), "crm:record:list-refused"),
        (entry("refusal", "contact.card", "not-allowed", 403, fields={"detail": "export"}), "crm:data:export-refused"),
        (entry("outcome", "x", "outcome-unknown", 0, fields={"detail": "update"}), "crm:record:update-failed"),
        (entry("outcome", "auth", "allowed", 302, fields={"detail": "login"}), "crm:session:sign-in"),
        (entry("outcome", "auth", "crm-not-signed-in", 200, fields={"detail": "login"}), "crm:session:sign-in-failed"),
        (entry("outcome", "auth", "", 200, method="GET", fields={"detail": "login"}), "crm:session:ask"),
        (entry("decision", "setup", "", 0, fields={"detail": "account-change"}), "crm:account:change-allowed"),
        (entry("outcome", "setup", "", 200, fields={"detail": "account-read"}), "crm:account:read"),
        (entry("outcome", "account.export_csv", "allowed", 200), "crm:data:export"),  # of before actions were named
        (entry("outcome", "unmatched.read", "allowed", 200), "crm:record:read"),
        (entry("outcome", "", "allowed", 200), "crm:page:use"),
        (entry("decision", "egress.smtp", "person"), "egress:mail:send-allowed"),
        (entry("sign-in", "access.sign_in", "signed-out", 303), "access:session:ended"),
        (entry("sign-in", "access.sign_in", "code-wrong", 401), "access:sign-in:factor-wrong"),
        (entry("sign-in", "access.sign_in", "something-new", 401), "access:sign-in:refused"),
        (entry("sign-in", "access.sign_in", "something-new", 200), UNLISTED),
        (entry("policy", "policy.publish", "published"), "policy:bundle:published"),
        (entry("console", "console.keys", "console-refused", 403), "console:page:refused"),
        (entry("nonsense", "", ""), UNLISTED),
    ],
)
def test_an_entry_has_the_tag_of_what_it_says(content: dict[str, Any], tag: str) -> None:
    assert tag_of(content) == tag
    assert class_of(content).tag == tag


@given(st.dictionaries(st.sampled_from(["kind", "operation", "reason", "status", "method", "fields"]), ANYTHING))
def test_every_mapping_has_a_tag_of_the_catalogue(content: dict[str, Any]) -> None:
    assert tag_of(content) in catalogue()


@given(
    st.sampled_from(["decision", "outcome", "refusal", "console", "sign-in"]),
    ANYTHING,
    st.dictionaries(st.sampled_from(["operation", "reason", "status", "method"]), ANYTHING),
)
def test_so_has_every_one_of_a_known_kind(kind: str, fields: Any, more: dict[str, Any]) -> None:
    assert tag_of({"kind": kind, "fields": fields} | more) in catalogue()


def test_tags_keep_their_shape_and_every_line_says_what_it_is_in_both_languages() -> None:
    for tag, line in catalogue().items():
        assert SHAPE.fullmatch(tag), tag
        assert line.tag == tag
        assert isinstance(line.weight, Weight)
        assert line.retention == FIVE_YEARS
        assert re.fullmatch(r"6\.\d\.\d", line.clause), tag
        assert CHINESE.search(line.chinese), tag
        assert not CHINESE.search(line.english), tag
        assert line.moment, tag


def test_no_two_lines_have_a_tag_or_a_mark_in_common() -> None:
    from audit.catalogue_access import ACCESS
    from audit.catalogue_console import CONSOLE
    from audit.catalogue_keeping import KEEPING
    from audit.catalogue_trail import TRAIL
    from audit.passage import passage_classes

    lines = [*ACCESS, *CONSOLE, *KEEPING, *TRAIL, *passage_classes()]
    assert len({line.tag for line in lines}) == len(lines) == len(catalogue()) - 1
    marks = [mark for line in lines for mark in line.marks]
    assert sorted(set(marks)) == sorted(marks)


def test_the_page_says_what_the_catalogue_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m audit.catalogue_page"


def test_patterns_name_a_tag_or_a_family() -> None:
    assert fits("access:session:ended", "access:*")
    assert fits("access:session:ended", "access:session:*")
    assert fits("access:session:ended", "access:session:ended")
    assert not fits("access:session:ended", "access:sess:*")
    assert not fits("accessory:session:ended", "access:*")
    assert not any(is_pattern(text) for text in ("", "*", ":*", "access", "nothing:*", "access:session:endedx"))
    assert {"access", "audit", "crm", "policy", "keys", "privacy"} <= set(families())
    assert kinds_of("policy:*") >= {"policy", "console"}
    assert kinds_of("access:session:started") == {"sign-in"}
    assert kinds_of("crm:record:*") == frozenset()
