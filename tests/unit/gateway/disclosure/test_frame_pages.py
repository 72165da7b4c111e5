"""The pages in the frame: who may frame them, what a token opens, and that faults reveal nothing."""

import re
from urllib.parse import urlencode

import pytest

from gateway.access.tokens import digest
from gateway.console.look import read_look
from gateway.database import Pool
from gateway.disclosure.config import RevealSettings
from gateway.disclosure.frame_pages import FrameDeps, make_frame_app, with_frame
from gateway.disclosure.handle import seal_handle
from gateway.disclosure.store import Sitting, SittingStore
from tests.unit.gateway.console.stage import Answer, Browser
from tests.unit.gateway.disclosure.room import PHONE, Room, open_room

LOOK = read_look()
TOKEN = "A" * 43
FREE = RevealSettings(enabled=True, step_up=False)


async def browser_at(room: Room, pool: Pool) -> Browser:
    """A browser of the console's host with a hand-over for the session of Li Wei."""
    deps = FrameDeps(room.desk, SittingStore(pool), LOOK, {"t1": "https://crm.example"})
    await room.access.sessions.open(room.li.user, "192.0.2.7", room.clock())
    (row,) = await room.access.sessions.list("t1", room.clock())
    await pool_crm_user(pool, row.id)
    handle = await seal_handle(room.desk.sealer, "t1", row.id, [room.mask], room.clock())
    sitting = Sitting("t1", row.id, room.li.user.id, handle, room.clock().replace(hour=23, minute=59))
    await deps.sittings.insert(digest(TOKEN), sitting, entered=False)
    return Browser(make_frame_app(deps), "console.example")  # type: ignore[arg-type]


async def pool_crm_user(pool: Pool, session: str) -> None:
    async with pool.connection() as db:
        await db.execute("UPDATE app_session SET crm_user = 'crm-li' WHERE id = %s", (session,))


def token_in(answer: Answer) -> str:
    found = re.search(r'name="token" value="([^"]+)"', answer.text)
    assert found is not None
    return found.group(1)


def guarded(answer: Answer) -> bool:
    policy = answer.header("content-security-policy")
    return (
        answer.header("cache-control") == "no-store"
        and policy.endswith("frame-ancestors https://crm.example")
        and "unsafe" not in policy
    )


@pytest.mark.parametrize("language", ["en", "zh_Hans"])
async def test_a_value_is_shown_once_for_a_token_and_the_next_needs_the_next(
    pool: Pool, keyring_path, language: str
) -> None:
    async with open_room(pool, keyring_path, FREE) as room:
        browser = await browser_at(room, pool)
        listed = await browser.get(f"/reveal/t1/{TOKEN}?lang={language}")
        assert listed.status == 200
        assert guarded(listed)
        assert PHONE not in listed.text
        again = await browser.get(f"/reveal/t1/{TOKEN}")
        assert (again.status, guarded(again)) == (410, True)
        form = {"token": token_in(listed), "mask": "0", "reason": "contact"}
        missing = await browser.post("/reveal/t1", {**form, "reason": ""})
        assert missing.status == 422
        assert 'id="problem"' in missing.text
        shown = await browser.post("/reveal/t1", form)
        assert (shown.status, guarded(shown)) == (200, True)
        assert PHONE in shown.text
        replayed = await browser.post("/reveal/t1", form)
        assert replayed.status == 410
        assert PHONE not in replayed.text
        back = await browser.post("/reveal/t1/list", {"token": token_in(shown)})
        assert back.status == 200
        assert PHONE not in back.text


async def test_a_page_of_another_site_a_foreign_tenant_and_an_ended_session_reveal_nothing(
    pool: Pool, keyring_path
) -> None:
    async with open_room(pool, keyring_path, FREE) as room:
        browser = await browser_at(room, pool)
        foreign = await browser.get(f"/reveal/t2/{TOKEN}")
        assert foreign.status == 404
        assert foreign.header("content-security-policy").endswith("frame-ancestors 'none'")
        form = {"token": token_in(await browser.get(f"/reveal/t1/{TOKEN}")), "mask": "0", "reason": "contact"}
        crossing = {"origin": "https://crm.example", "sec-fetch-site": "same-site"}
        assert (await browser.post("/reveal/t1", form, crossing)).status == 403
        assert (await browser.bare("POST", "/reveal/t1", {}, urlencode(form).encode())).status == 403
        (row,) = await room.access.sessions.list("t1", room.clock())
        await room.access.sessions.end(row.id)
        ended = await browser.post("/reveal/t1", form)
        assert ended.status == 401
        assert PHONE not in ended.text
        assert room.trail.entries == []


async def test_a_token_has_five_tries_and_nonsense_none(pool: Pool, keyring_path) -> None:
    async with open_room(pool, keyring_path, FREE) as room:
        browser = await browser_at(room, pool)
        for token in ("", "x", "B" * 43, "é" * 43):
            assert (await browser.post("/reveal/t1", {"token": token, "mask": "0", "reason": "contact"})).status == 410
        form = {"token": token_in(await browser.get(f"/reveal/t1/{TOKEN}")), "reason": "contact"}
        wrong = ("9", "", "-1", "²", "x")
        statuses = [(await browser.post("/reveal/t1", {**form, "mask": mask})).status for mask in wrong]
        assert statuses == [422] * 5
        assert (await browser.post("/reveal/t1", {**form, "mask": "0"})).status == 410


async def test_without_a_trail_the_frame_says_so_and_shows_nothing(pool: Pool, keyring_path) -> None:
    async with open_room(pool, keyring_path, FREE) as room:
        browser = await browser_at(room, pool)
        form = {"token": token_in(await browser.get(f"/reveal/t1/{TOKEN}")), "mask": "0", "reason": "contact"}
        room.trail.away = 1
        refused = await browser.post("/reveal/t1", form)
        assert (refused.status, guarded(refused)) == (503, True)
        assert PHONE not in refused.text


async def test_every_other_address_is_the_consoles() -> None:
    asked: list[str] = []

    async def console(scope, _receive, _send) -> None:
        asked.append("console " + scope["path"])

    async def frame(scope, _receive, _send) -> None:
        asked.append("frame " + scope["path"])

    app = with_frame(console, frame)
    for path in ("/", "/reveals", "/reveal/t1/x"):
        await app({"type": "http", "path": path}, None, None)  # type: ignore[arg-type]
    assert asked == ["console /", "console /reveals", "frame /reveal/t1/x"]
