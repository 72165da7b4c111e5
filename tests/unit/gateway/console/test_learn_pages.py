"""The pages of learning: who may, what they show, deciding, and the file at the end."""

import json
from datetime import timedelta
from typing import Any

import pytest
import yaml

from gateway.learn.store import LearnStore
from policies.profile_file import compile_profile
from policies.profile_source import validated
from tests.unit.gateway.console.stage import Browser, Stage
from tests.unit.gateway.learn.imagined import CLEAR, FORM, form_crm, seen


async def learnt(stage: Stage) -> None:
    """A run of the tenant that has seen a session."""
    store = LearnStore(stage.pool)
    now = stage.clock()
    await store.start("t1", "l1", now, now + timedelta(minutes=10), "test")
    found = form_crm()
    found.note(seen("POST", "/x/thing/add", b"", "name=Some+Thing", 302, (("location", "/x/thing/4"),), FORM))
    await store.put_evidence("t1", "l1", "p1", json.dumps(found.snapshot().plain()), now)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_progress_fields_and_decisions_are_shown_and_no_value(
    stage: Stage, admin: Browser, language: str
) -> None:
    await learnt(stage)
    answer = await admin.get(f"/learning?lang={language}")
    assert answer.status == 200
    for words in ("contact.last_name", "138****8000", "kind.thing.name", "unknown-writes", "POST /screen/blob"):
        assert words in answer.text
    assert [value for value in CLEAR if value in answer.text] == []


async def test_without_a_run_it_says_how_to_begin(admin: Browser) -> None:
    assert "crmgate learn start" in (await admin.get("/learning?lang=en")).text


async def test_a_tenant_with_a_profile_of_its_own_is_not_watched(stage: Stage, admin: Browser) -> None:
    answer = await admin.post("/learning", {"step": "start", "minutes": "10"})
    assert answer.header("location") == "/learning?notice=learning-not-possible"
    assert await LearnStore(stage.pool).latest("t1") is None


async def test_watching_begins_once_and_stops(stage: Stage, admin: Browser) -> None:
    stage.learnable.add("t1")
    begin = {"step": "start", "minutes": "10"}
    assert (await admin.post("/learning", begin)).header("location") == "/learning?notice=learning-started"
    assert (await admin.post("/learning", begin)).header("location") == "/learning?notice=learning-under-way"
    assert "hx-get" in (await admin.get("/learning/now?lang=en")).text
    assert (await admin.post("/learning", {"step": "stop"})).header("location") == "/learning?notice=learning-stopped"
    run = await LearnStore(stage.pool).latest("t1")
    assert run is not None
    assert run.stopped_at is not None
    assert [reason for _, reason, _ in await stage.reasons()][-3:] == [
        "learning-started",
        "learning-started",
        "learning-stopped",
    ]


async def test_minutes_that_are_not_offered_begin_nothing(stage: Stage, admin: Browser) -> None:
    stage.learnable.add("t1")
    for minutes in ("0", "100000", "ten", ""):
        answer = await admin.post("/learning", {"step": "start", "minutes": minutes})
        assert answer.header("location") == "/learning?notice=learning-not-possible"


async def test_what_is_decided_is_in_the_file_and_watching_ends(stage: Stage, admin: Browser) -> None:
    await learnt(stage)
    answer = await admin.post("/learning/decisions", {"kind.thing.name": "plain", "unknown-writes": "yes"})
    assert answer.header("location") == "/learning?notice=learning-decided"
    file = await admin.post("/learning/profile", {})
    assert file.header("content-disposition") == 'attachment; filename="t1.yaml"'
    source: dict[str, Any] = yaml.safe_load(file.body)
    profile = compile_profile(validated(source))
    assert ("thing", "name") not in profile.field_specs
    assert profile.classify("POST", "/screen/blob", "", b"", FORM).granted_write
    run = await LearnStore(stage.pool).latest("t1")
    assert run is not None
    assert run.stopped_at is not None


async def test_decisions_that_there_are_not_are_refused(stage: Stage, admin: Browser) -> None:
    await learnt(stage)
    answer = await admin.post("/learning/decisions", {"kind.thing.name": "whatever"})
    assert answer.header("location") == "/learning?notice=learning-not-decided"
    run = await LearnStore(stage.pool).latest("t1")
    assert run is not None
    assert run.answers == {}


async def test_without_a_session_there_is_no_file(admin: Browser) -> None:
    answer = await admin.post("/learning/profile", {})
    assert answer.header("location") == "/learning?notice=learning-not-usable"
