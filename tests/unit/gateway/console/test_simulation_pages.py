"""The page that replays the last days against a bundle, for those who may look at policies."""

import asyncio

import pytest

from audit.entry import AuditEntry
from gateway.console import simulation_pages
from kms.store import StoreUnavailable
from tests.unit.gateway.access.world import Enrolled
from tests.unit.gateway.console.stage import Stage, bundles


@pytest.fixture
async def li(stage: Stage) -> Enrolled:
    """Somebody of sales who exported twice and tried to delete; bundle 2 turns that round, 3 cannot be read."""
    await bundles(stage)
    person = await stage.enrol("li.wei", "sales")
    for operation, reason in (
        ("party.export", "allowed"),
        ("party.export", "allowed"),
        ("party.delete", "not-allowed"),
    ):
        await stage.audit.append(
            AuditEntry(
                id="a-1", at=stage.clock(), tenant="t1", kind="outcome", reason=reason, operation=operation,
                actor=person.user.id, actor_login="li.wei", fields={},
            )
        )  # fmt: skip
    return person


async def test_it_lists_who_would_lose_and_gain_what(stage, admin, li) -> None:
    page = await admin.get("/policy/2/simulation")
    assert page.status == 200
    for words in ("Losses", "Gains", "op:party.export", "op:party.delete", "li.wei", "× 2"):
        assert words in page.text, words
    assert ("gao.ning", "policy-simulated", 200) in await stage.reasons()
    assert "减少" in (await admin.get("/policy/2/simulation?lang=zh_Hans")).text
    assert [reason for _, reason, _ in await stage.reasons()].count("policy-simulated") == 1  # one replay serves both


async def test_a_bundle_that_cannot_be_read_says_why(admin, li) -> None:
    assert "needs role" in (await admin.get("/policy/3/simulation")).text


async def test_a_long_replay_shows_how_far_it_is_and_is_followed(admin, li, monkeypatch) -> None:
    go, real = asyncio.Event(), simulation_pages.replay

    async def slow(*args, **more):  # type: ignore[no-untyped-def]
        more["tell"](0.25)
        await go.wait()
        return await real(*args, **more)

    monkeypatch.setattr(simulation_pages, "replay", slow)
    monkeypatch.setattr(simulation_pages, "WAIT_S", 0.01)
    page = await admin.get("/policy/2/simulation")
    assert 'value="0' in page.text
    assert 'hx-get="/policy/2/simulation/now?days=7"' in page.text
    part = await admin.get("/policy/2/simulation/now?days=7")
    assert 'value="0.25"' in part.text
    assert "<html" not in part.text
    go.set()
    async with asyncio.timeout(60):
        while "Losses" not in (part := await admin.get("/policy/2/simulation/now?days=7")).text:
            await asyncio.sleep(0.01)
    assert "hx-get" not in part.text


async def test_a_store_that_is_away_is_no_result(admin, li, monkeypatch) -> None:
    async def away(*_args: object, **_more: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(simulation_pages, "replay", away)
    assert (await admin.get("/policy/2/simulation")).status == 503
    monkeypatch.undo()
    assert "Losses" in (await admin.get("/policy/2/simulation")).text


@pytest.mark.parametrize("path", ["/policy/9/simulation", "/policy/x/simulation/now"])
async def test_what_is_not_there_is_not_found(admin, li, path) -> None:
    assert (await admin.get(path)).status == 404


async def test_who_may_not_look_at_policies_simulates_none(stage, li) -> None:
    browser = await stage.signed_in(await stage.enrol("some.dpo", "dpo"))
    assert (await browser.get("/policy/2/simulation")).status == 403
    auditor = await stage.signed_in(await stage.enrol("chen.jing", "auditor"))
    assert (await auditor.get("/policy/2/simulation")).status == 200
