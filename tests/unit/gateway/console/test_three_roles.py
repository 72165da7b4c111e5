"""Who of the three administrators may do what, from one table: every page of the console, every act at the terminal."""

from pathlib import Path

import pytest

from gateway.console.app import console_routes
from gateway.settings import AccessSettings, Separation
from policies.duty import THREE_ROLES
from policies.enforcer import Enforcer
from policies.rows import PolicyInvalid
from tests.unit.gateway.console.stage import make_stage

SYSTEM, SECURITY, AUDIT = "system-admin", "security-admin", "audit-admin"
ALL = frozenset({SYSTEM, SECURITY, AUDIT})
# (methods, path of a route) → who may; a test compares it with the routes there are.
PAGES: dict[tuple[str, str], frozenset[str]] = {
    ("GET", "/"): ALL,
    ("GET", "/now"): frozenset({AUDIT}),
    ("GET", "/activity"): frozenset({AUDIT}),
    ("GET", "/activity/rows"): frozenset({AUDIT}),
    ("GET", "/activity/{index}"): frozenset({AUDIT}),
    ("GET", "/trail"): frozenset({AUDIT}),
    ("GET", "/trail/pack"): frozenset({AUDIT}),
    ("POST", "/trail/pack"): frozenset({AUDIT}),
    ("GET", "/trail/pack/now"): frozenset({AUDIT}),
    ("GET", "/trail/pack/file"): frozenset({AUDIT}),
    ("GET", "/trail/saved"): frozenset({AUDIT}),
    ("POST", "/trail/saved"): frozenset({AUDIT}),
    ("GET", "/trail/saved/{saved}"): frozenset({AUDIT}),
    ("POST", "/trail/saved/{saved}"): frozenset({AUDIT}),
    ("POST", "/trail/saved/{saved}/delete"): frozenset({AUDIT}),
    ("GET", "/query"): frozenset({AUDIT}),
    ("POST", "/query"): frozenset({AUDIT}),
    ("GET", "/query/{query}"): frozenset({AUDIT}),
    ("GET", "/query/{query}/now"): frozenset({AUDIT}),
    ("GET", "/query/{query}/csv"): frozenset({AUDIT}),
    ("POST", "/query/{query}/cancel"): frozenset({AUDIT}),
    ("GET", "/reveals"): frozenset({AUDIT}),
    ("GET", "/sessions"): frozenset({SYSTEM, AUDIT}),
    ("GET", "/sessions/rows"): frozenset({SYSTEM, AUDIT}),
    ("GET", "/sessions/{session}/end"): frozenset({SYSTEM}),
    ("POST", "/sessions/{session}/end"): frozenset({SYSTEM}),
    ("GET", "/users"): ALL,
    ("GET", "/users/new"): frozenset({SYSTEM}),
    ("POST", "/users/new"): frozenset({SYSTEM}),
    ("GET", "/users/{user}"): ALL,
    ("POST", "/users/{user}"): frozenset({SYSTEM}),
    ("GET", "/users/{user}/reset"): frozenset({SYSTEM}),
    ("POST", "/users/{user}/reset"): frozenset({SYSTEM}),
    ("GET", "/users/{user}/approve-reset"): frozenset({SYSTEM, SECURITY}),
    ("POST", "/users/{user}/approve-reset"): frozenset({SYSTEM, SECURITY}),
    ("GET", "/users/{user}/withdraw-reset"): frozenset({SYSTEM}),
    ("POST", "/users/{user}/withdraw-reset"): frozenset({SYSTEM}),
    ("GET", "/users/{user}/networks"): frozenset({SYSTEM}),
    ("POST", "/users/{user}/networks"): frozenset({SYSTEM}),
    ("GET", "/users/{user}/{action}"): frozenset({SYSTEM}),
    ("POST", "/users/{user}/{action}"): frozenset({SYSTEM}),
    ("GET", "/changes"): ALL,
    ("GET", "/changes/{change}"): ALL,
    ("POST", "/changes/{change}/approve"): frozenset({SECURITY}),
    ("POST", "/changes/{change}/withdraw"): frozenset({SYSTEM, SECURITY}),
    ("GET", "/emergency"): ALL,
    ("POST", "/emergency"): frozenset({SYSTEM, SECURITY}),
    ("POST", "/emergency/{emergency}/approve"): frozenset({SECURITY}),
    ("POST", "/emergency/{emergency}/end"): frozenset({SYSTEM, SECURITY}),
    ("GET", "/roles"): ALL,
    ("GET", "/users/{user}/devices"): frozenset({SYSTEM}),
    ("POST", "/users/{user}/devices/{device}/{action}"): frozenset({SYSTEM}),
    ("GET", "/reviews"): ALL,
    ("POST", "/reviews"): frozenset({SYSTEM}),
    ("GET", "/reviews/now"): ALL,
    ("GET", "/reviews/export"): ALL,
    ("GET", "/reviews/{number}"): ALL,
    ("POST", "/reviews/{number}"): frozenset({SYSTEM}),
    ("GET", "/reviews/{number}/export"): ALL,
    ("POST", "/reviews/{number}/{step}"): frozenset({SYSTEM}),
    ("GET", "/policy"): ALL,
    ("GET", "/policy/new"): frozenset({SECURITY}),
    ("POST", "/policy/new"): frozenset({SECURITY}),
    ("GET", "/policy/explain"): ALL,
    ("GET", "/policy/{number}"): ALL,
    ("GET", "/policy/{number}/simulation"): ALL,
    ("GET", "/policy/{number}/simulation/now"): ALL,
    # The steps of a bundle's life; which of them is whose stands below.
    ("GET", "/policy/{number}/propose"): frozenset({SECURITY}),
    ("POST", "/policy/{number}/propose"): frozenset({SECURITY}),
    ("GET", "/policy/{number}/publish"): frozenset({SYSTEM}),
    ("POST", "/policy/{number}/publish"): frozenset({SYSTEM}),
    ("GET", "/programs"): frozenset({SYSTEM}),
    ("GET", "/keys"): frozenset({SYSTEM, AUDIT}),
    ("GET", "/keys/rotations"): frozenset({SYSTEM, AUDIT}),
    ("POST", "/keys/rotations/{job}"): frozenset({SYSTEM}),
    ("GET", "/keys/destroyed/{destruction}"): frozenset({SYSTEM, AUDIT}),
    ("GET", "/learning"): frozenset({SYSTEM}),
    ("POST", "/learning"): frozenset({SYSTEM}),
    ("GET", "/learning/now"): frozenset({SYSTEM}),
    ("POST", "/learning/decisions"): frozenset({SYSTEM}),
    ("POST", "/learning/profile"): frozenset({SYSTEM}),
    ("GET", "/health"): frozenset({SYSTEM, AUDIT}),
    ("POST", "/health/verify"): frozenset({SYSTEM, AUDIT}),
}
# What the steps of `crmgate …` that ask who takes them look up: (operation, action) → who may.
ACTS: dict[tuple[str, str], frozenset[str]] = {
    ("console.policy", "update"): frozenset({SECURITY}),  # policy draft, propose, rollback
    ("console.policy", "other"): frozenset({SYSTEM}),  # policy publish
    ("console.users", "update"): frozenset({SYSTEM}),  # user … --by, reset-code
    ("console.users", "other"): frozenset({SECURITY}),  # user agree
    ("console.keys", "create"): frozenset({SYSTEM}),  # keys destroy request
    ("console.keys", "update"): frozenset({SYSTEM}),  # keys destroy approve
    ("console.keys", "delete"): frozenset({SYSTEM}),  # keys destroy cancel
    ("console.audit", "export"): frozenset({AUDIT}),
}


@pytest.fixture
async def stage(pool, dsn, tmp_path: Path, clock):
    apart = AccessSettings(separation=Separation.THREE_ROLES)
    made = await make_stage(pool, dsn, tmp_path, clock, policy=THREE_ROLES, settings=apart)
    made.learnable.add("t1")
    yield made
    await made.audit.close()


async def test_the_table_names_every_page_there_is(stage) -> None:
    there = {
        (method, route.path)  # type: ignore[attr-defined]
        for route in console_routes(stage.console)
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    steps = {path for _, path in PAGES if path.startswith("/policy/{number}/p")}
    named = {(method, "/policy/{number}/{step}" if path in steps else path) for method, path in PAGES}
    assert there == named


@pytest.mark.parametrize("role", sorted(ALL))
async def test_each_page_is_for_whom_the_table_says(stage, role) -> None:
    browser = await stage.signed_in(await stage.enrol("some.body", role))
    for (method, path), who in PAGES.items():
        address = path.replace("{", "").replace("}", "")
        answer = await (browser.get(address) if method == "GET" else browser.post(address, {"x": "y"}))
        if role in who:
            assert answer.status != 403, (method, path)
        else:
            assert answer.status == 403, (method, path)
            assert ("some.body", "console-refused", 403) in await stage.reasons()


@pytest.mark.parametrize("role", sorted(ALL))
def test_each_act_is_for_whom_the_table_says(role) -> None:
    bundle = Enforcer((), separated=True).load(THREE_ROLES)
    for (operation, action), who in ACTS.items():
        assert bundle.may("t1", (role,), operation, action) == (role in who), (operation, action)


def test_the_audit_administrator_has_no_act_that_changes_anything() -> None:
    bundle = Enforcer((), separated=True).load(THREE_ROLES)
    for operation in ("sessions", "users", "keys", "settings", "policy", "requests", "emergency", "live", "audit"):
        for action in ("create", "update", "delete", "import", "other"):
            assert not bundle.may("t1", (AUDIT,), f"console.{operation}", action)


async def test_the_console_refuses_bundles_that_join_two_duties(stage) -> None:
    desk = stage.console.desk("t1")
    assert desk.separated
    rows = THREE_ROLES.read_text() + f"\ng, {SYSTEM}, {AUDIT}, *\n"
    with pytest.raises(PolicyInvalid):
        await desk.judge(rows, "")
    assert await desk.judge(THREE_ROLES.read_text(), "")


async def test_whoever_does_not_see_the_overview_begins_elsewhere(stage) -> None:
    for role, first in ((SYSTEM, "/sessions"), (SECURITY, "/users")):
        browser = await stage.signed_in(await stage.enrol(role, role))
        assert (await browser.get("/")).header("location") == first
    sales = await stage.signed_in(await stage.enrol("li.wei", "sales"))
    assert (await sales.get("/")).status == 403


async def test_two_of_the_three_in_one_account_open_nothing(stage) -> None:
    both = await stage.signed_in(await stage.enrol("some.body", SYSTEM, AUDIT))
    for path in ("/activity", "/reveals", "/users/new", "/users/u-1/reset"):
        assert (await both.get(path)).status == 403


async def test_one_of_each_is_enough_to_give_rights(stage) -> None:
    system = await stage.signed_in(await stage.enrol("xi.tong", SYSTEM))
    security = await stage.signed_in(await stage.enrol("an.quan", SECURITY))
    li = await stage.enrol("li.wei", "sales")
    form = {"display_name": "", "crm_user": "", "language": "", "roles": ["manager"], "reason": "new-duty"}
    assert (await system.post(f"/users/{li.user.id}", form)).status == 303
    (change,) = await stage.access.role_changes.waiting("t1")
    assert (await system.post(f"/changes/{change.id}/approve")).status == 403
    assert (await security.post(f"/changes/{change.id}/approve")).status == 303
    assert (await stage.access.users.get("t1", li.user.id)).roles == ("manager",)


async def test_roles_that_join_duties_are_refused_on_the_form(stage) -> None:
    system = await stage.signed_in(await stage.enrol("xi.tong", SYSTEM))
    shen = await stage.enrol("shen.ji", AUDIT)
    form = {"display_name": "", "crm_user": "", "language": "", "roles": [AUDIT, SECURITY], "reason": "new-duty"}
    answer = await system.post(f"/users/{shen.user.id}", form)
    assert answer.status == 422
    assert "more than one administrator" in answer.text
    assert await stage.access.role_changes.waiting("t1") == []
