"""The console's list of programs: what they may do, from where, and when they came in last; administrators only."""

from datetime import timedelta

from gateway.identity.store import ClientRow, IdentityStore


async def test_administrators_see_each_credential_and_its_last_use(stage, admin) -> None:
    store, now = IdentityStore(stage.pool), stage.clock()
    assert "No programs" in (await admin.get("/programs")).text
    row = ClientRow("t1", "c-1", "sync", ("sales",), ("203.0.113.0/24",), "", now, now + timedelta(days=30))
    await store.add_client(row, b"digest")
    assert "never" in (await admin.get("/programs")).text
    await store.note_used("t1", "c-1", now, "203.0.113.9", timedelta(minutes=1))
    page = (await admin.get("/programs")).text
    assert "sync" in page
    assert "203.0.113.0/24" in page
    assert "<code>203.0.113.9</code>" in page
    assert "最近使用" in (await admin.get("/programs?lang=zh_Hans")).text


async def test_nobody_else_sees_them(stage) -> None:
    for role in ("auditor", "dpo", "manager"):
        browser = await stage.signed_in(await stage.enrol(f"some.{role}", role))
        assert (await browser.get("/programs")).status == 403
