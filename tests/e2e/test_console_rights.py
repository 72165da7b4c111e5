"""Who may open which page of the console, on a running gateway: the page, or a clear refusal in two languages."""

import pytest

from gateway.access.pages import SIGN_IN_PATH
from gateway.demo.browser import Browser
from tests.drills.stack import Stack
from tests.e2e.visitors import join, newcomer, sign_in, visitor

pytestmark = pytest.mark.real
LIVE, SESSIONS, USERS, CHANGE_USERS = "live", "sessions", "users", "change users"
KEYS, CHANGE_KEYS, HEALTH = "keys", "change keys", "health"
PAGES = {
    "/": LIVE,
    "/now": LIVE,
    "/activity?pause=1": LIVE,
    "/activity/rows": LIVE,
    "/activity/0": LIVE,
    "/sessions": SESSIONS,
    "/sessions/rows": SESSIONS,
    "/sessions/s-nobody/end": CHANGE_USERS,
    "/users": USERS,
    "/users/new": CHANGE_USERS,
    "/users/u-nobody": USERS,
    "/users/u-nobody/disable": CHANGE_USERS,
    "/roles": USERS,
    "/programs": CHANGE_USERS,
    "/users/u-nobody/networks": CHANGE_USERS,
    "/users/u-nobody/devices": CHANGE_USERS,
    "/keys": KEYS,
    "/keys/rotations": KEYS,
    "/keys/destroyed/d-nobody": KEYS,
    "/health": HEALTH,
}
ACTIONS = {
    "/sessions/s-nobody/end": CHANGE_USERS,
    "/users/new": CHANGE_USERS,
    "/users/u-nobody": CHANGE_USERS,
    "/users/u-nobody/disable": CHANGE_USERS,
    "/users/u-nobody/devices/d-nobody/revoke": CHANGE_USERS,
    "/keys/rotations/nothing": CHANGE_KEYS,
    "/health/verify": HEALTH,
}
RIGHTS = {
    "sales": set(),
    "manager": {LIVE},
    "auditor": {LIVE, SESSIONS, USERS, KEYS, HEALTH},
    "dpo": {LIVE, KEYS, CHANGE_KEYS, HEALTH},
    "administrator": {LIVE, SESSIONS, USERS, CHANGE_USERS, KEYS, CHANGE_KEYS, HEALTH},
}
WORDS = {"en": "Your role does not allow this page", "zh_Hans": "您的角色无权访问此页面"}


@pytest.fixture(scope="module")
def stack(creme_stack: Stack) -> Stack:
    return creme_stack


@pytest.fixture(scope="module")
def people(stack: Stack) -> dict[str, Browser]:
    return {role: newcomer(stack, role, console=True) for role in RIGHTS}


@pytest.mark.parametrize("language", list(WORDS))
@pytest.mark.parametrize("role", list(RIGHTS))
def test_every_page_opens_by_right_or_says_why_not(people: dict[str, Browser], role: str, language: str) -> None:
    browser, wrong = people[role], []
    for path, right in PAGES.items():
        answer = browser.get(f"{path}{'&' if '?' in path else '?'}lang={language}", follow=False)
        if right in RIGHTS[role]:
            # What does not exist is told to those who may look.
            fine = answer.status in ((200, 303, 404) if "nobody" in path else (200,))
        else:
            fine = answer.status == 403 and WORDS[language] in answer.text and "<h1" in answer.text
            fine = fine and "/.crmgate/sign-out" in answer.text
        if not fine:
            wrong.append(f"{path}: {answer.status} ")
    assert wrong == []


@pytest.mark.parametrize("role", list(RIGHTS))
def test_every_action_is_done_by_right_or_refused(people: dict[str, Browser], role: str) -> None:
    browser, wrong = people[role], []
    for path, right in ACTIONS.items():
        answer = browser.post(path, {"cause": "left-company"}, follow=False, headers={"origin": browser.base})
        allowed = right in RIGHTS[role]
        if (answer.status == 403) == allowed or answer.status >= 500:
            wrong.append(f"{path}: {answer.status}")
    assert wrong == []


def test_without_session_every_page_leads_to_sign_in(stack: Stack) -> None:
    stranger = visitor(stack, console=True)
    for path in PAGES:
        answer = stranger.get(path, follow=False)
        assert (path, answer.status) == (path, 303)
        assert answer.header("location").startswith(SIGN_IN_PATH)


@pytest.mark.parametrize("role", list(RIGHTS))
def test_own_pages_are_for_everybody_who_is_signed_in(stack: Stack, people: dict[str, Browser], role: str) -> None:
    browser = people[role]
    account = browser.get("/.crmgate/account").expect(200)
    assert "/.crmgate/sign-out" in account.text
    browser.cookies.pop("__Host-crmgate-language", None)
    invitation = browser.get("/.crmgate/set-up?token=nothing")
    assert (invitation.status, "This invitation link does not work" in invitation.text) == (404, True)
    assert browser.get("/.crmgate/nothing-here").status == 404


def test_a_role_that_is_taken_away_counts_at_once(stack: Stack) -> None:
    admin, member = newcomer(stack, "administrator", console=True), join(stack, "auditor")
    browser = sign_in(stack, member, console=True)
    browser.get("/sessions").expect(200)
    listed = admin.get("/users").expect(200).text
    row = next(row for row in listed.split("<tr")[1:] if member.login in row)
    user = row.split('href="/users/')[1].split('"')[0]
    given = {"display_name": "", "roles": "sales", "crm_user": "", "language": ""}
    admin.post(f"/users/{user}", given, follow=False, headers={"origin": admin.base}).expect(303)
    assert browser.get("/sessions").status == 403


def test_who_is_on_and_live_activity_show_real_people(stack: Stack) -> None:
    member = join(stack, "manager")
    crm, admin = sign_in(stack, member), newcomer(stack, "administrator", console=True)
    crm.get("/persons/contacts", follow=False)
    assert member.login in admin.get("/sessions").expect(200).text
    live = admin.get("/activity?pause=1").expect(200).text
    assert member.login in live
    assert "contact.list" in live
    row = next(row for row in admin.get("/sessions").text.split("<tr")[1:] if member.login in row)
    end = f"/sessions/{row.split('/sessions/')[1].split('/')[0]}/end"
    admin.post(end, {"cause": "lost-device"}, follow=False, headers={"origin": admin.base}).expect(303)
    assert crm.send("GET", "/persons/contacts", headers={"accept": "application/json"}).status == 401
