"""The page of keys: what it shows, pausing and resuming a rotation, and the certificate of a destruction."""

import pytest

from gateway.console.key_pages import arrange
from gateway.job import Json, Slice, State
from kms.provider import KeysUnavailable
from tests.unit.gateway.console.stage import ASKED, KEYS, Browser, Stage, destroyed, rotation


def test_keys_stand_by_scope_and_purpose_with_the_newest_first() -> None:
    shown = arrange(KEYS)
    assert [(row.scope, row.purpose) for row in shown] == [
        ("email", "seal"),
        ("file/document/filedata", "seal"),
        ("name", "equal"),
        ("phone", "seal"),
        ("surrogate", "token"),
    ]
    assert [key.id for key in shown[0].keys] == ["0a0a0a01", "0a0a0a02"]
    assert [row.old for row in shown] == [False, False, True, False, False]


async def test_every_key_is_shown_with_its_age_and_state_and_no_secret(admin: Browser) -> None:
    text = (await admin.get("/keys?lang=en")).text
    for key in KEYS:
        assert key.id in text
    for words in (
        "Older than a year",
        "Old, still read",
        "Destroyed",
        "Search by the whole value",
        "400 days",
        "Files · document.filedata",
    ):
        assert words in text
    assert "No key was rotated yet" in text
    assert "Nothing was destroyed" in text


async def test_a_key_store_that_is_away_is_said(stage: Stage, admin: Browser) -> None:
    stage.faults["keys"] = KeysUnavailable("vault-sealed", "the server is sealed")
    answer = await admin.get("/keys?lang=en")
    assert answer.status == 200
    assert "vault-sealed" in answer.text
    assert "nothing passes in the clear" in answer.text


async def test_a_rotation_is_watched_paused_and_resumed(stage: Stage, admin: Browser) -> None:
    jobs = await rotation(stage, "rotate-1")
    text = (await admin.get("/keys/rotations?lang=en")).text
    assert "<html" not in text
    for words in ("E-mail · Encryption", "25 of 100 values", 'value="0.25"', "5 a second", "about 15 s left"):
        assert words in text
    answer = await admin.post("/keys/rotations/rotate-1", {"step": "pause"})
    assert (answer.status, answer.header("location")) == (303, "/keys?notice=rotation-paused")
    job = await jobs.get("rotate-1")
    assert job is not None
    paused = await jobs.begin(job.id, job.run)  # what the worker does before its next slice
    assert paused is not None
    assert paused.state is State.PAUSED
    assert "Resume: E-mail" in (await admin.get("/keys?lang=en")).text
    await admin.post("/keys/rotations/rotate-1", {"step": "resume"})
    job = await jobs.get("rotate-1")
    assert job is not None
    assert job.state is State.RUNNING
    done = [reason for _, reason, _ in await stage.reasons() if reason != "page-viewed"]
    assert done[-2:] == ["rotation-paused", "rotation-resumed"]


async def test_a_rotation_that_ended_tells_what_became_of_the_old_key(stage: Stage, admin: Browser) -> None:
    jobs = await rotation(stage, "rotate-3")
    for end, left, said in (
        ("retired", 0, "nothing is left under the old key"),
        ("verify", -1, "the old key only confirms what was made under it"),
        ("standing", 3, "the old key stays in use for what stands in the CRM itself (3 known)"),
    ):
        name = f"rotate-{end}"
        job = await jobs.add(name, "rotate", "t1", {"scope": "email", "purpose": "seal", "old": end}, 1, None)
        cursor: dict[str, Json] = {"end": end, "left": left}
        assert await jobs.save(job, Slice(cursor, 1, 1, finished=True), 1.0)
        text = " ".join((await admin.get("/keys/rotations?lang=en")).text.split())
        assert said in text


async def test_what_has_ended_stays_as_it_is_and_the_page_says_so(stage: Stage, admin: Browser) -> None:
    jobs = await rotation(stage, "rotate-2")
    job = await jobs.get("rotate-2")
    assert job is not None
    await jobs.save(job, Slice(None, 100, 100, finished=True), 1.0)
    answer = await admin.post("/keys/rotations/rotate-2", {"step": "pause"})
    assert answer.header("location") == "/keys?notice=rotation-ended"
    ended = await jobs.get("rotate-2")
    assert ended is not None
    assert ended.state is State.DONE


@pytest.mark.parametrize("step", ["cancel", "", "run", "pause\x00"])
async def test_only_pausing_and_resuming_can_be_asked_for(stage: Stage, admin: Browser, step: str) -> None:
    jobs = await rotation(stage, "rotate-3")
    assert (await admin.post("/keys/rotations/rotate-3", {"step": step})).status == 404
    job = await jobs.get("rotate-3")
    assert job is not None
    assert job.state is State.RUNNING
    assert job.wanted == "run"


async def test_jobs_of_another_tenant_or_another_kind_are_not_there(stage: Stage, admin: Browser) -> None:
    await rotation(stage, "rotate-4", tenant="t2")
    jobs = await rotation(stage, "other-5", kind="something")
    assert "rotate-4" not in (await admin.get("/keys")).text
    for name in ("rotate-4", "other-5", "rotate-none"):
        assert (await admin.post(f"/keys/rotations/{name}", {"step": "pause"})).status == 404
        job = await jobs.get(name)
        assert job is None or job.wanted == "run"


async def test_who_may_only_look_pauses_nothing(stage: Stage) -> None:
    jobs = await rotation(stage, "rotate-6")
    auditor = await stage.signed_in(await stage.enrol("sun.li", "auditor"))
    assert "Pause" not in (await auditor.get("/keys?lang=en")).text
    assert (await auditor.post("/keys/rotations/rotate-6", {"step": "pause"})).status == 403
    job = await jobs.get("rotate-6")
    assert job is not None
    assert job.wanted == "run"


async def test_a_destruction_shows_both_people_and_its_certificate(stage: Stage, admin: Browser) -> None:
    await destroyed(stage, "d-1", "destroyed: 1 key\n— signed")
    text = (await admin.get("/keys?lang=en")).text
    for words in ("Keys of: Phone", "zhao.min", "qian.hua", "/keys/destroyed/d-1"):
        assert words in text
    answer = await admin.get("/keys/destroyed/d-1")
    assert answer.body.decode() == "destroyed: 1 key\n— signed"
    assert answer.header("content-disposition") == 'attachment; filename="crmgate-destruction-d-1.txt"'
    assert (await stage.reasons())[-1][1] == "key-certificate-viewed"


async def test_there_is_no_certificate_before_the_end_or_for_another_tenant(stage: Stage, admin: Browser) -> None:
    store = await destroyed(stage, "d-2", "of another", tenant="t2")
    await store.open_request("t1", "d-3", "email", ASKED, stage.clock())
    for name in ("d-2", "d-3", "d-none"):
        assert (await admin.get(f"/keys/destroyed/{name}")).status == 404
