"""The summary stays readable whatever people are called, and the same facts give the same bytes."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pypdf import PdfReader

from audit.pack_facts import Anchored, Facts, Range, Totals
from audit.pack_pdf import draw

AT = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def facts(**changes: Any) -> Facts:
    totals = Totals()
    for number, login in enumerate(["li.wei", "王芳", '<b>"&bold</b>', "x" * 300, "tab\tand\x07bell", ""]):
        content = {"actor_login": login, "actor": "", "operation": "", "kind": "k", "reason": "", "status": 200}
        totals.add(AT + timedelta(days=number), content, [])
    plain: dict[str, Any] = {
        "origin": "crmgate-audit/main", "made_at": AT, "made_by": "auditor", "filters": {}, "totals": totals,
        "waiting": 0, "first": 3, "last": 8, "consecutive": True, "range": None, "policies": {}, "size": 9,
        "root": "ab" * 32, "earlier": 0, "vkey": "crmgate-audit/main+00000000+AAAA", "fingerprint": "cd" * 32,
        "anchors": (),
    }  # fmt: skip
    return Facts(**{**plain, **changes})


def text_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_are_text_and_never_markup_and_long_ones_are_cut(language: str) -> None:
    told = text_of(draw(facts(), language))
    for word in ("li.wei", "王芳", '<b>"&bold</b>', "tab and bell"):
        assert word in told
    assert "x" * 20 in told
    assert "x" * 200 not in told


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_same_facts_give_the_same_bytes_with_the_time_they_say(language: str) -> None:
    pdf = draw(facts(), language)
    assert draw(facts(), language) == pdf
    assert draw(facts(made_at=AT + timedelta(seconds=1)), language) != pdf
    assert PdfReader(io.BytesIO(pdf)).metadata["/CreationDate"] == "D:20261127120000Z"  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        ({}, "The entries are consecutive", "withheld"),
        ({"consecutive": False}, "That nothing else in the log matches", "consecutive:"),
        ({"range": Range(0, 9)}, "Of 9 entries in the range 0 to 8, 6 are shown and 3 withheld", "consecutive:"),
        ({}, "Nothing is kept outside the database", "time-stamp"),
        ({"anchors": (Anchored("time-stamp", 8),)}, "8 entries: does not cover entry 8 yet", "covers all"),
        ({"anchors": (Anchored("folder", 9),)}, "9 entries: covers all of this pack", "does not cover"),
        ({"earlier": 2}, "The log grew from the earlier checkpoint", "no version of a policy at all"),
        ({}, "The entries name no version of a policy", "In force since"),
    ],
)
def test_it_says_what_is_proved_and_what_is_not(changes: dict[str, Any], said: str, unsaid: str) -> None:
    told = text_of(draw(facts(**changes), "en"))
    assert said in told
    assert unsaid not in told


def test_many_policies_run_over_pages() -> None:
    many = replace(facts(), policies={f"{number:064x}": "2026-01-01T00:00:00+00:00" for number in range(120)})
    assert len(PdfReader(io.BytesIO(draw(many, "zh"))).pages) > 3
