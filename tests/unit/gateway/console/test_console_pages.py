"""The console's pages: who may open them, what they do, and what the trail keeps of it."""

import re
from datetime import timedelta

import pytest
from starlette.routing import Route

from audit.entry import AuditEntry
from gateway.access.sessions import AUDIENCE_CONSOLE
from gateway.console.app import console_routes
from gateway.guess_store import Count, GuessStore
from kms.provider import KeysUnavailable
from tests.unit.gateway.console.stage import Stage

PAGES = ["/", "/activity", "/sessions", "/users", "/users/new", "/roles", "/reviews", "/policy", "/policy/new"]
PAGES += ["/programs", "/keys", "/health", "/.crmgate/account"]


async def append(stage: Stage, **values: object) -> int:
    usual = {"id": "a-1", "at": stage.clock(), "tenant": "t1", "kind": "outcome", "reason": "allowed", "status": 200}
    return await stage.audit.append(AuditEntry(**({"fields": {}} | usual | values)))


@pytest.mark.parametrize("language", ["en", "zh_Hans"])
@pytest.mark.parametrize("page", [*PAGES, "/policy/explain"])
async def test_every_page_opens_in_both_languages(admin, page, language) -> None:
    answer = await admin.get(f"{page}?lang={language}")
    assert answer.status == 200
    assert f'<html lang="{language.replace("_", "-")}">' in answer.text
    assert len(re.findall(r"<h1[ >]", answer.text)) == 1


async def test_no_page_has_scripts_styles_or_handlers_inside(admin) -> None:
    for page in PAGES:
        text = (await admin.get(page)).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|hx-on|<script(?![^>]*\ssrc=)", text), page


async def test_every_route_of_the_console_asks_who_it_is(stage: Stage) -> None:
    """Nobody signed in gets anything but the way to sign in."""
    browser = stage.browser(AUDIENCE_CONSOLE)
    for route in console_routes(stage.console):
        assert isinstance(route, Route)
        path = re.sub(r"\{[a-z]+\}", "x1", route.path)
        for method in (route.methods or set()) - {"HEAD"}:
            answer = await (browser.get(path) if method == "GET" else browser.post(path))
            assert answer.status == 303, (method, path)
            assert answer.header("location").startswith("/.crmgate/sign-in"), path


@pytest.mark.parametrize(
    ("role", "open_pages"),
    [
        ("sales", set()),
        ("auditor", {"/", "/activity", "/sessions", "/users", "/roles", "/reviews", "/policy", "/keys", "/health"}),
        ("dpo", {"/", "/activity", "/keys", "/health"}),
    ],
)
async def test_each_role_opens_its_pages_only_and_the_menu_says_which(stage, role, open_pages) -> None:
    browser = await stage.signed_in(await stage.enrol("somebody", role))
    opened = {page for page in PAGES[:-1] if (await browser.get(page)).status == 200}
    assert opened == open_pages
    menu = (await browser.get("/.crmgate/account")).text
    assert {page for page in open_pages if f'href="{page}"' in menu} == open_pages


async def test_a_refused_page_is_on_record(stage) -> None:
    browser = await stage.signed_in(await stage.enrol("li.wei", "sales"))
    assert (await browser.get("/users")).status == 403
    assert (await stage.reasons())[-1] == ("li.wei", "console-refused", 403)


async def test_an_auditor_changes_nothing(stage, gao) -> None:
    browser = await stage.signed_in(await stage.enrol("chen.jing", "auditor"))
    session = (await stage.access.sessions.list("t1", stage.clock()))[0].id
    for path in ("/users/new", f"/users/{gao.user.id}", f"/users/{gao.user.id}/disable", f"/sessions/{session}/end"):
        assert (await browser.post(path, {"login": "x", "cause": "misuse-suspected"})).status == 403, path


async def test_background_requests_neither_keep_a_session_nor_send_a_page(stage, admin) -> None:
    for _ in range(31):
        stage.clock.advance(minutes=1)
        answer = await admin.get("/activity/rows", {"hx-request": "true"})
    assert (answer.status, answer.header("hx-redirect")) == (401, "/.crmgate/sign-in?next=/")


async def test_a_new_user_gets_a_link_that_sets_up_the_account(stage, admin) -> None:
    form = {"login": "zhou.min", "display_name": "Zhou Min", "roles": ["sales"], "crm_user": "7", "language": ""}
    answer = await admin.post("/users/new", form)
    assert answer.status == 200
    link = re.search(r'value="https://crm\.example(/\.crmgate/set-up\?token=[^"]+)"', answer.text)
    assert link
    person = stage.browser()
    moved = await person.get(link[1])
    assert (moved.status, moved.header("location")) == (303, "/.crmgate/set-up")
    page = await person.get("/.crmgate/set-up")
    secret = re.search(r"<code>([A-Z2-7 ]+)</code>", page.text)[1].replace(" ", "")
    chosen = {"password": "seven quiet lanterns 81", "again": "seven quiet lanterns 81"}
    assert (await person.post("/.crmgate/set-up", chosen | {"again": "x", "code": "1"})).status == 422
    assert (await person.post("/.crmgate/set-up", chosen | {"code": "12"})).status == 422
    weak = {"password": "password1234", "again": "password1234", "code": stage.access.code(secret)}
    assert "on lists of passwords" in (await person.post("/.crmgate/set-up", weak)).text
    done = await person.post("/.crmgate/set-up", chosen | {"code": stage.access.code(secret)})
    assert len(re.findall(r"<code>(?:[0-9A-Z]{4}-){2}[0-9A-Z]{4}</code>", done.text)) == 10
    assert "/.crmgate/sign-in?notice=set-up-done" in done.text
    assert (await person.get("/.crmgate/set-up")).status == 404
    reasons = [reason for _, reason, _ in await stage.reasons()]
    assert [r for r in reasons if r.startswith(("user", "invitation"))] == [
        "user-created",
        "user-invited",
        "invitation-used",
        "invitation-invalid",
    ]


async def test_somebody_for_the_console_is_invited_to_the_console(admin) -> None:
    answer = await admin.post("/users/new", {"login": "chen.jing", "roles": ["auditor"]})
    assert 'value="https://console.example/.crmgate/set-up?token=' in answer.text


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"login": "a b"}, "cannot be a login"),
        ({"login": "GAO.NING"}, "has this login already"),
        ({"login": "x", "crm_user": "a b"}, "must not have spaces"),
        ({"login": "x", "roles": ["root"]}, "could not be saved"),
    ],
)
async def test_what_cannot_be_saved_is_explained_and_changes_nothing(stage, admin, form, words) -> None:
    answer = await admin.post("/users/new", form)
    assert answer.status == 422
    assert words in answer.text
    assert len(await stage.access.users.list("t1")) == 1


async def test_roles_are_changed_by_somebody_else_only(stage, admin, gao) -> None:
    li = await stage.enrol("li.wei", "sales")
    form = {"display_name": "Li Wei", "roles": ["manager"], "crm_user": "", "language": "zh_Hans"}
    assert (await admin.post(f"/users/{li.user.id}", form)).header("location") == "/users?notice=user-changed"
    changed = await stage.access.users.get("t1", li.user.id)
    assert (changed.roles, changed.display_name, changed.language) == (("manager",), "Li Wei", "zh_Hans")
    own = await admin.post(f"/users/{gao.user.id}", form | {"roles": ["administrator", "manager"]})
    assert own.status == 422
    assert (await stage.access.users.get("t1", gao.user.id)).roles == ("administrator",)


async def test_what_hurts_asks_for_a_reason_and_ends_the_sessions(stage, admin) -> None:
    action = "disable"
    li = await stage.enrol("li.wei", "sales")
    token = await stage.access.sessions.open(li.user, "", stage.clock())
    assert "li.wei" in (await admin.get(f"/users/{li.user.id}/{action}")).text
    assert (await admin.post(f"/users/{li.user.id}/{action}", {"cause": "because"})).status == 422
    assert (await admin.post(f"/users/{li.user.id}/{action}", {"cause": "lost-device"})).status in (200, 303)
    browser = stage.browser()
    browser.jar["__Host-crmgate"] = token
    assert (await browser.get("/.crmgate/account")).status == 303
    assert (await stage.reasons())[-1][1] == "user-disabled"


async def test_nobody_closes_or_resets_the_own_account(stage, admin, gao) -> None:
    for action in ("disable", "reset", "invite"):
        assert (await admin.post(f"/users/{gao.user.id}/{action}", {"cause": "clean-up"})).status == 422
    assert not (await stage.access.users.get("t1", gao.user.id)).disabled


async def test_a_closed_account_can_be_reopened_and_unknown_ones_are_not_found(stage, admin) -> None:
    li = await stage.enrol("li.wei", "sales")
    await stage.access.users.disable(li.user)
    assert (await admin.post(f"/users/{li.user.id}/enable", {"cause": "asked-for"})).status == 303
    assert not (await stage.access.users.get("t1", li.user.id)).disabled
    assert (await admin.get("/users/u-nobody")).status == 404
    assert (await admin.get(f"/users/{li.user.id}/explode")).status == 404


async def test_a_session_is_ended_from_the_list(stage, admin) -> None:
    li = await stage.enrol("li.wei", "sales")
    await stage.access.sessions.open(li.user, "198.51.100.9", stage.clock())
    page = await admin.get("/sessions")
    assert "198.51.100.9" in page.text
    path = re.search(r'href="(/sessions/s-[0-9a-f]+/end)" aria-label="End the session of li.wei"', page.text)[1]
    assert (await admin.post(path, {})).status == 422
    assert (await admin.post(path, {"cause": "misuse-suspected"})).header(
        "location"
    ) == "/sessions?notice=session-ended"
    assert (await admin.post(path, {"cause": "misuse-suspected"})).header("location") == "/sessions?notice=session-gone"
    assert "198.51.100.9" not in (await admin.get("/sessions/rows")).text


async def test_people_of_another_tenant_are_not_there(stage, admin) -> None:
    from tests.unit.gateway.access.world import enrol_in

    other = await enrol_in(stage.access, "someone", "sales", tenant="t2")
    token = await stage.access.sessions.open(other.user, "203.0.113.77", stage.clock())
    session = (await stage.access.sessions.principal(token, stage.clock())).session_id
    assert "203.0.113.77" not in (await admin.get("/sessions")).text
    assert "someone" not in (await admin.get("/users")).text
    assert (await admin.get(f"/users/{other.user.id}")).status == 404
    await admin.post(f"/users/{other.user.id}/disable", {"cause": "clean-up"})
    await admin.post(f"/sessions/{session}/end", {"cause": "clean-up"})
    assert (await stage.access.sessions.principal(token, stage.clock())).login == "someone"


async def test_the_live_view_shows_words_filters_and_pages(stage, admin) -> None:
    await append(stage, reason="mask-returned", status=409, actor="u-1", actor_login="li.wei", operation="contact.edit")
    await append(stage, actor="u-2", actor_login="zhou.min", operation="contact.list", entity="contact")
    everything = (await admin.get("/activity")).text
    assert "Mask sent back without its value" in everything
    assert "zhou.min" in everything
    for query, there, gone in [
        ("reason=mask-returned", "contact.edit", "zhou.min"),
        ("outcome=refused", "contact.edit", "zhou.min"),
        ("outcome=allowed", "zhou.min", "contact.edit"),
        ("operation=contact.list", "zhou.min", "contact.edit"),
        ("person=u-2", "zhou.min", "contact.edit"),
    ]:
        rows = (await admin.get(f"/activity/rows?{query}")).text
        assert there in rows, query
        assert gone not in rows, query
    assert "提交了没有原值的掩码" in (await admin.get("/activity?lang=zh_Hans")).text


async def test_the_live_view_polls_until_it_is_paused(admin) -> None:
    assert 'hx-trigger="every 3s"' in (await admin.get("/activity?outcome=refused")).text
    assert "hx-get" not in (await admin.get("/activity?outcome=refused&pause=1")).text


async def test_older_entries_are_a_page_away(stage, admin) -> None:
    for place in range(60):
        await append(stage, operation=f"contact.step{place}")
    first = (await admin.get("/activity?kind=outcome&pause=1")).text
    older = re.search(r'href="(/activity\?kind=outcome&amp;before=\d+)"', first)[1].replace("&amp;", "&")
    page = (await admin.get(older)).text
    assert "contact.step59" in first
    assert "contact.step59" not in page
    assert "contact.step3<" in page


async def test_nonsense_in_the_address_is_passed_over(admin) -> None:
    for query in ("before=x", "before=" + "9" * 40, "outcome=maybe", "person=%00", "reason=%F0%9F%92%A5"):
        assert (await admin.get(f"/activity?{query}")).status == 200, query


async def test_an_entry_is_shown_with_a_proof_that_was_just_checked(stage, admin) -> None:
    index = await append(stage, operation="contact.detail", fields={"shown": {"contact.email": {"318": {"masked": 1}}}})
    assert "Not signed yet" in (await admin.get(f"/activity/{index}")).text
    await stage.keeper.seal("t1")
    page = (await admin.get(f"/activity/{index}")).text
    assert "Included in the signed log" in page
    assert "Signed checkpoint" in page
    assert "contact.email" in page
    for path in ("/activity/99999", "/activity/x", "/activity/" + "9" * 30, "/activity/-1"):
        assert (await admin.get(path)).status == 404


async def test_a_changed_entry_is_shown_as_changed_and_verification_finds_it(stage, admin, dsn, postgres) -> None:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    index = await append(stage, operation="contact.detail")
    await append(stage)
    await stage.keeper.seal("t1")
    good = await admin.post("/health/verify")
    assert "The trail is whole" in good.text
    as_admin = make_conninfo(postgres.admin_dsn, dbname=conninfo_to_dict(dsn)["dbname"])
    async with await psycopg.AsyncConnection.connect(as_admin, autocommit=True) as db:
        await db.execute("SET session_replication_role = replica")
        await db.execute(
            "UPDATE audit_entry SET body = convert_to(replace(convert_from(body, 'UTF8'), 'detail', 'delete'), 'UTF8') "
            "WHERE index = %s",
            (index,),
        )
    assert "not what was written" in (await admin.get(f"/activity/{index}")).text
    assert f"entry {index}" in (await admin.post("/health/verify")).text
    assert (await stage.reasons())[-1][1] == "trail-tampered"


async def test_an_entry_that_cannot_be_read_is_still_shown(stage, admin, dsn, postgres) -> None:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    index = await append(stage, operation="contact.detail")
    as_admin = make_conninfo(postgres.admin_dsn, dbname=conninfo_to_dict(dsn)["dbname"])
    async with await psycopg.AsyncConnection.connect(as_admin, autocommit=True) as db:
        await db.execute("SET session_replication_role = replica")
        await db.execute("UPDATE audit_entry SET body = 'nonsense' WHERE index = %s", (index,))
    assert (await admin.get("/activity?pause=1")).status == 200
    assert "not what was written" in (await admin.get(f"/activity/{index}")).text


async def test_the_overview_counts_requests_and_counted_refusals(stage, admin) -> None:
    for place in range(3):
        await append(stage, exchange=f"x-{place}")
    await append(stage, exchange="x-8", kind="refusal", reason="session-ended", status=401)
    await append(stage, exchange="x-9", kind="decision")
    await append(stage, exchange="x-9", kind="outcome", reason="not-allowed", status=403)
    await append(stage, kind="refusal-count", reason="sign-in-required", status=401, fields={"count": 37})
    page = (await admin.get("/")).text
    assert "3 allowed" in page
    assert "39 refused" in page
    assert 'id="now"' in (await admin.get("/now")).text


async def test_hostile_texts_in_the_trail_do_nothing_on_the_page(stage, admin) -> None:
    hostile = '"><img src=x onerror=alert(1)>'
    await append(stage, actor_login=hostile, crm_user=hostile)
    text = (await admin.get("/activity")).text
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text


async def test_health_says_when_row_level_security_does_not_bind_the_account(stage, admin, postgres, dsn) -> None:
    import psycopg

    assert "row-level security" not in (await admin.get("/health")).text
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as connection:
        connection.execute("ALTER ROLE crmgate BYPASSRLS")
        try:
            page = (await admin.get("/health")).text
        finally:
            connection.execute("ALTER ROLE crmgate NOBYPASSRLS")
    assert "row-level security does not bind this account (superuser or BYPASSRLS)" in page
    assert "only the code keeps tenants apart" in page


async def test_health_says_what_is_wrong_and_what_helps(stage, admin) -> None:
    stage.faults["keys"] = KeysUnavailable("sealed", "the server is sealed")
    stage.faults["crm"] = ConnectionRefusedError()
    page = (await admin.get("/health")).text
    assert "Keys cannot be had (sealed)" in page
    assert "The CRM does not answer (ConnectionRefusedError)" in page
    assert page.count("Action needed") == 3
    stage.faults["keys"] = RuntimeError("secret detail")
    page = (await admin.get("/health")).text
    assert "The check failed (RuntimeError)" in page
    assert "secret detail" not in page


async def test_health_shows_the_budgets_and_an_alarm_when_somebody_used_one_up(stage, admin) -> None:
    store, hour = GuessStore(stage.pool), stage.clock().replace(minute=0, second=0, microsecond=0)
    await store.add([Count("t1", "u-9", "uniqueness", hour, 29), Count("t2", "u-8", "uniqueness", hour, 99)])
    assert "at most 29 of 30" in (await admin.get("/health")).text
    await store.add([Count("t1", "u-9", "uniqueness", hour, 1)])
    page = (await admin.get("/health")).text
    assert "1 people used up a budget" in page
    assert "Action needed" in page
    await store.add([Count("t1", "u-7", "search", hour - timedelta(hours=2), 1000)])
    assert "2 people used up a budget" in (await admin.get("/health")).text


async def test_health_says_when_signing_lags(stage, admin) -> None:
    await append(stage)
    await stage.keeper.seal("t1")
    await append(stage)
    stage.clock.now += timedelta(minutes=10)
    assert "signing lags" in (await admin.get("/health")).text


async def test_the_matrix_shows_which_role_sees_which_field(admin) -> None:
    page = (await admin.get("/roles")).text
    row = page[page.index("<code>email</code>") : page.index("<code>id_card</code>")]
    assert 'class="form masked"' in row
    assert 'class="form clear"' in row
    assert "<code>note</code>" not in page  # free text goes by the kind of what stands in it


async def test_the_own_account_shows_sessions_and_changes_the_password(stage, admin, gao) -> None:
    assert "This one" in (await admin.get("/.crmgate/account")).text
    form = {"current": "x", "new": "seven quiet lanterns 81", "again": "seven quiet lanterns 81"}
    assert (await admin.post("/.crmgate/account/password", form)).status == 422
    assert (await admin.post("/.crmgate/account/password", form | {"again": "y"})).status == 422
    good = form | {"current": gao.password}
    assert (await admin.post("/.crmgate/account/password", good)).header("location").endswith("password-changed")
    assert (await admin.post("/.crmgate/account/end-others")).status == 303
    chosen = await admin.post("/.crmgate/account/language", {"language": "zh_Hans"})
    assert chosen.header("location") == "/.crmgate/account?lang=zh_Hans&notice=language-changed"
    assert (await admin.post("/.crmgate/account/language", {"language": "xx"})).status == 422
    reasons = [reason for _, reason, _ in await stage.reasons()]
    assert reasons[-4:] == ["password-wrong", "password-changed", "other-sessions-ended", "language-changed"]


async def test_when_the_trail_is_away_nothing_is_changed(stage, admin) -> None:
    li = await stage.enrol("li.wei", "sales")
    await stage.audit.close()
    assert (await admin.post(f"/users/{li.user.id}/disable", {"cause": "clean-up"})).status == 503
    assert not (await stage.access.users.get("t1", li.user.id)).disabled
