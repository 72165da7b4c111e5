"""Sign-in of people whose password a directory checks: both factors, the link, brakes, and no way round it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
from psycopg_pool import AsyncConnectionPool

from gateway.access.elsewhere import Elsewhere, LinkTaken
from gateway.access.password_check import PasswordCheckUnavailable, PasswordRefusedElsewhere
from gateway.access.password_rules import PasswordRules
from gateway.access.passwords import PasswordRefused, PasswordWrong
from gateway.access.sessions import NoSession
from gateway.access.sign_in import Attempt, HalfOpenExpired
from gateway.access.throttle import Locked
from gateway.access.totp import CodeWrong
from gateway.access.users import Profile
from gateway.directory.config import DirectorySettings, IdAttribute
from gateway.directory.directory import Directory
from tests.real.bent_directory import GUID, OWN_DN, OWN_SECRET, PASSWORD, PERSON_DN, BentDirectory, bent_directory
from tests.unit.gateway.access.world import PASSWORD as OWN_PASSWORD
from tests.unit.gateway.access.world import Access, Clock, Enrolled, build, enrol_in
from tests.unit.gateway.console.stage import Stage, make_stage

HOME, ELSEWHERE = "192.0.2.7", "203.0.113.9"
IDENTITY = Elsewhere("ldap:ad", str(GUID))
OWN = (OWN_DN, OWN_SECRET)


@pytest.fixture
def bent() -> Iterator[BentDirectory]:
    with bent_directory("right") as server:
        yield server


@pytest.fixture
def directory(bent: BentDirectory, tmp_path: Path) -> Directory:
    secret = tmp_path / "secret"
    secret.write_text(OWN_SECRET)
    return Directory(
        DirectorySettings(
            name="ad",
            urls=(bent.url,),
            bind_dn=OWN_DN,
            bind_secret_file=secret,
            base="DC=ad,DC=example",
            filter="(sAMAccountName={login})",
            tenants=("t1",),
            id_attribute=IdAttribute.OBJECT_GUID,
            timeout_s=30.0,
            connect_timeout_s=30.0,
            clear_text_on_loopback=True,
        )
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(pool: AsyncConnectionPool, clock: Clock, directory: Directory) -> Access:
    return build(pool, clock, directories={"ad": directory})


@pytest.fixture
async def si(access: Access) -> Enrolled:
    """Li Si, who had a password of crmgate's own and is linked to the directory now."""
    person = await enrol_in(access, "li.si")
    await access.links.add("t1", person.user.id, IDENTITY, access.clock())
    await access.users.leave_password(person.user)
    return person


async def outcome_of(attempt: Any) -> Exception:
    with pytest.raises(Attempt) as caught:
        await attempt
    return caught.value.outcome


async def test_the_directorys_password_and_our_code_open_a_session(
    access: Access, si: Enrolled, bent: BentDirectory
) -> None:
    half = await access.sign_in.password_step("t1", "LI.SI", PASSWORD, HOME)
    with pytest.raises(NoSession):
        await access.sessions.principal(half.token, access.clock())
    done = await access.sign_in.code_step("t1", half.token, access.code(si.secret), HOME)
    assert (await access.sessions.principal(done.token, access.clock())).id == si.user.id
    assert bent.binds == [OWN, (PERSON_DN, PASSWORD)]
    (link,) = await access.links.links("t1", si.user.id)
    assert link.last_used_at == access.clock()


async def test_the_second_factor_stays_ours(access: Access, si: Enrolled) -> None:
    half = await access.sign_in.password_step("t1", "li.si", PASSWORD, HOME)
    assert type(await outcome_of(access.sign_in.code_step("t1", half.token, "000000", HOME))) is CodeWrong
    assert type(await outcome_of(access.sign_in.at_once("t1", "li.si", PASSWORD, "000000", HOME))) is CodeWrong


async def test_both_factors_in_one_call_and_proofs_ask_the_directory(access: Access, si: Enrolled) -> None:
    await access.sign_in.at_once("t1", "li.si", PASSWORD, access.code(si.secret), HOME)
    access.clock.advance(seconds=30)
    await access.sign_in.prove("t1", "li.si", PASSWORD, access.code(si.secret), HOME)
    access.clock.advance(seconds=30)
    code = access.code(si.secret)
    wrong = access.sign_in.prove_factor("t1", si.user.id, code, HOME, password=OWN_PASSWORD)
    assert type(await outcome_of(wrong)) is PasswordRefusedElsewhere
    await access.sign_in.prove_factor("t1", si.user.id, code, HOME, password=PASSWORD)


@pytest.mark.parametrize("password", ["wrong", "", OWN_PASSWORD, PASSWORD + " "])
async def test_any_other_password_is_wrong_and_why_is_for_the_trail(
    access: Access, si: Enrolled, bent: BentDirectory, password: str
) -> None:
    bent.data = "775"
    outcome = await outcome_of(access.sign_in.password_step("t1", "li.si", password, HOME))
    assert isinstance(outcome, PasswordRefusedElsewhere)
    assert isinstance(outcome, PasswordWrong)
    assert (outcome.directory, outcome.reason) == ("ad", "directory-locked" if password else "directory-wrong")


async def test_a_password_that_stayed_here_never_counts_for_a_linked_account(access: Access) -> None:
    """Between the link and the forgetting, or from a restored backup."""
    person = await enrol_in(access, "li.si")
    await access.links.add("t1", person.user.id, IDENTITY, access.clock())
    outcome = await outcome_of(access.sign_in.password_step("t1", "li.si", OWN_PASSWORD, HOME))
    assert isinstance(outcome, PasswordRefusedElsewhere)


async def test_a_half_open_sign_in_from_before_the_link_ends(access: Access) -> None:
    person = await enrol_in(access, "li.si")
    half = await access.sign_in.password_step("t1", "li.si", OWN_PASSWORD, HOME)
    await access.links.add("t1", person.user.id, IDENTITY, access.clock())
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(person.secret), HOME)


async def test_an_entry_with_the_login_of_an_unlinked_account_does_not_get_in(
    access: Access, bent: BentDirectory
) -> None:
    await enrol_in(access, "li.si")
    outcome = await outcome_of(access.sign_in.password_step("t1", "li.si", PASSWORD, HOME))
    assert type(outcome) is PasswordWrong
    assert bent.binds == [OWN, OWN]


async def test_nobody_here_gets_in_with_an_entry_there(access: Access, bent: BentDirectory) -> None:
    outcome = await outcome_of(access.sign_in.password_step("t1", "li.si", PASSWORD, HOME))
    assert type(outcome) is PasswordWrong
    assert bent.binds == [OWN, OWN]


async def test_a_closed_account_does_not_get_in_and_its_password_stays_here(
    access: Access, si: Enrolled, bent: BentDirectory
) -> None:
    await access.users.disable(si.user)
    outcome = await outcome_of(access.sign_in.password_step("t1", "li.si", PASSWORD, HOME))
    assert type(outcome) is PasswordWrong
    assert bent.binds == [OWN, OWN]


async def test_an_account_linked_to_another_entry_does_not_get_in(access: Access, bent: BentDirectory) -> None:
    """The login was given to somebody else in the directory."""
    person = await enrol_in(access, "li.si")
    other = Elsewhere("ldap:ad", "6f2d1e0c-0000-4000-8000-0000000000bb")
    await access.links.add("t1", person.user.id, other, access.clock())
    outcome = await outcome_of(access.sign_in.password_step("t1", "li.si", PASSWORD, HOME))
    assert isinstance(outcome, PasswordRefusedElsewhere)
    assert outcome.reason == "directory-other-person"
    assert bent.binds == [OWN, OWN]


async def test_a_right_password_of_ours_asks_no_directory(access: Access, bent: BentDirectory) -> None:
    await enrol_in(access, "li.wu")
    bent.mode = "hang"
    await access.sign_in.password_step("t1", "li.wu", OWN_PASSWORD, HOME)
    assert bent.binds == []


@pytest.mark.parametrize("login", ["li.si", "li.wu", "nobody"])
async def test_an_outage_lets_nobody_in_and_tells_nothing_of_who_is_linked(
    access: Access, si: Enrolled, bent: BentDirectory, login: str
) -> None:
    await enrol_in(access, "li.wu")
    bent.mode = "garbage"
    outcome = await outcome_of(access.sign_in.password_step("t1", login, PASSWORD, HOME))
    assert isinstance(outcome, PasswordCheckUnavailable)
    assert (outcome.directory, outcome.reason) == ("ad", "nonsense")


async def test_brakes_count_before_the_directory_is_asked(access: Access, si: Enrolled, bent: BentDirectory) -> None:
    bent.data = "52e"
    outcomes = [await outcome_of(access.sign_in.password_step("t1", "li.si", "wrong", ELSEWHERE)) for _ in range(12)]
    assert [type(one) for one in outcomes[:5]] == [PasswordRefusedElsewhere] * 5
    assert {type(one) for one in outcomes[5:]} == {Locked}
    assert sum(dn == PERSON_DN for dn, _ in bent.binds) == 5


async def test_guesses_from_many_addresses_reach_the_directory_twenty_one_times_at_most(
    access: Access, si: Enrolled, bent: BentDirectory
) -> None:
    """The third brake of DECIDED.md: what a directory's own lock-out has to stand."""
    for number in range(40):
        await outcome_of(access.sign_in.password_step("t1", "li.si", "wrong", f"203.0.113.{number}"))
    assert sum(dn == PERSON_DN for dn, _ in bent.binds) == 21


@pytest.mark.parametrize("where", ["no directory", "another name", "another tenant"])
async def test_a_link_whose_directory_left_the_settings_opens_nothing(
    pool: AsyncConnectionPool, clock: Clock, directory: Directory, where: str
) -> None:
    other = Directory(replace(directory.settings, name="old" if where == "another name" else "ad", tenants=("t9",)))
    at = build(pool, clock, directories={} if where == "no directory" else {other.name: other})
    person = await enrol_in(at, "li.si")
    await at.links.add("t1", person.user.id, IDENTITY, at.clock())
    for password in (PASSWORD, OWN_PASSWORD):
        outcome = await outcome_of(at.sign_in.password_step("t1", "li.si", password, HOME))
        assert isinstance(outcome, PasswordCheckUnavailable)
        assert outcome.reason == "not-configured"


async def test_taking_the_link_away_ends_what_rests_on_it(access: Access, si: Enrolled) -> None:
    half = await access.sign_in.password_step("t1", "li.si", PASSWORD, HOME)
    assert await access.links.remove("t1", si.user.id, "ldap:ad")
    with pytest.raises(HalfOpenExpired):
        await access.sign_in.code_step("t1", half.token, access.code(si.secret), HOME)
    assert type(await outcome_of(access.sign_in.password_step("t1", "li.si", PASSWORD, HOME))) is PasswordWrong


async def test_an_account_has_one_directory_and_an_entry_one_account(access: Access, si: Enrolled) -> None:
    with pytest.raises(LinkTaken):
        await access.links.check_add("t1", si.user.id, Elsewhere("ldap:other", str(GUID)))
    other = await enrol_in(access, "li.wu")
    with pytest.raises(LinkTaken):
        await access.links.check_add("t1", other.user.id, IDENTITY)


async def test_a_reset_keeps_the_directory_and_the_invitation_sets_the_second_factor_only(
    access: Access, si: Enrolled
) -> None:
    user = await access.users.get("t1", si.user.id)
    assert user is not None
    assert (user.directory, user.has_password, user.ready) == ("ad", False, True)
    token, _ = await access.users.reset(user, "command-line")
    invitation = await access.users.invitation("t1", token)
    await access.users.accept("t1", token, "", access.code(invitation.secret))
    access.clock.advance(seconds=30)
    user = await access.users.get("t1", si.user.id)
    assert user is not None
    assert (user.directory, user.has_password, user.ready) == ("ad", False, True)
    half = await access.sign_in.password_step("t1", "li.si", PASSWORD, HOME)
    await access.sign_in.code_step("t1", half.token, access.code(invitation.secret), HOME)


async def test_there_is_no_password_here_to_change_or_to_grow_old(
    pool: AsyncConnectionPool, clock: Clock, directory: Directory
) -> None:
    at = build(pool, clock, rules=PasswordRules(lifetime=timedelta(days=1)), directories={"ad": directory})
    person = await enrol_in(at, "li.si")
    await at.links.add("t1", person.user.id, IDENTITY, at.clock())
    with pytest.raises(PasswordRefused) as refused:
        await at.users.change_password("t1", person.user.id, OWN_PASSWORD, "another quiet river 9", keep_session="")
    assert refused.value.problem == "in-directory"
    clock.advance(days=3)
    await at.sign_in.at_once("t1", "li.si", PASSWORD, at.code(person.secret), HOME)


# -- the pages --


@pytest.fixture
async def stage(
    pool: AsyncConnectionPool, dsn: str, tmp_path: Path, clock: Clock, directory: Directory
) -> AsyncIterator[Stage]:
    made = await make_stage(pool, dsn, tmp_path, clock, directories={"ad": directory})
    yield made
    await made.audit.close()


@pytest.fixture
async def invited(stage: Stage) -> tuple[str, str]:
    """Id of Li Si, who has never been here, and the token of the invitation."""
    user = await stage.access.users.create("t1", "li.si", Profile(roles=("sales",)))
    await stage.access.links.add("t1", user.id, IDENTITY, stage.clock())
    found = await stage.access.users.get("t1", user.id)
    assert found is not None
    return user.id, (await stage.access.users.invite(found, "command-line"))[0]


async def test_an_invitation_asks_for_the_code_only_and_the_account_page_says_where_the_password_is(
    stage: Stage, invited: tuple[str, str]
) -> None:
    browser = stage.browser()
    await browser.get(f"/.crmgate/set-up?token={invited[1]}")
    page = await browser.get("/.crmgate/set-up")
    assert 'name="code"' in page.text
    assert 'name="password"' not in page.text
    secret = (await stage.access.users.invitation("t1", invited[1])).secret
    done = await browser.post("/.crmgate/set-up", {"code": stage.access.code(secret)})
    assert done.status == 200, done.text
    stage.clock.advance(seconds=30)
    assert (await browser.post("/.crmgate/sign-in", {"login": "li.si", "password": PASSWORD})).status == 303
    assert (await browser.post("/.crmgate/sign-in/code", {"code": stage.access.code(secret)})).status == 303
    account = await browser.get("/.crmgate/account")
    assert "directory (ad)" in account.text
    assert 'action="/.crmgate/account/password"' not in account.text
    refused = await browser.post(
        "/.crmgate/account/password",
        {"current": PASSWORD, "new": "quiet lamp 77 river", "again": "quiet lamp 77 river"},
    )
    assert refused.status == 422
    assert "changed in your company" in refused.text


@pytest.mark.parametrize(
    ("mode", "status", "reason", "detail", "said"),
    [
        ("", 401, "password-wrong", "directory-disabled", "Login or password is not right."),
        ("garbage", 503, "directory-unavailable", "nonsense", "The company directory cannot be asked"),
    ],
)
async def test_a_refusal_is_one_sentence_outside_and_an_id_in_the_trail(
    stage: Stage,
    invited: tuple[str, str],
    bent: BentDirectory,
    mode: str,
    status: int,
    reason: str,
    detail: str,
    said: str,
) -> None:
    from audit.store import Filters

    bent.mode, bent.data = mode, "533"
    page = await stage.browser().post("/.crmgate/sign-in", {"login": "li.si", "password": PASSWORD})
    assert page.status == status
    assert said in page.text
    assert detail not in page.text
    (row,) = [one.content for one in await stage.trail.recent("t1", 100, Filters()) if one.content["kind"] == "sign-in"]
    assert (row["reason"], row["status"], row["actor"]) == (reason, status, invited[0])
    assert row["fields"] == {"detail": f"ad:{detail}"}
    chinese = await stage.browser().post(
        "/.crmgate/sign-in?lang=zh_Hans", {"login": "li.si", "password": PASSWORD}, {"accept-language": "zh-CN"}
    )
    assert ("公司目录" in chinese.text) == (status == 503)


async def test_a_program_is_told_the_same(stage: Stage, invited: tuple[str, str], bent: BentDirectory) -> None:
    import json

    for mode, status, told in (("", 401, "sign-in-failed"), ("garbage", 503, "directory-unavailable")):
        bent.mode = mode
        given = json.dumps({"login": "li.si", "password": PASSWORD, "code": pyotp.TOTP(pyotp.random_base32()).now()})
        answer = await stage.browser().post(
            "/.crmgate/api/sign-in", given.encode(), {"content-type": "application/json"}
        )
        assert answer.status == status
        assert json.loads(answer.text)["reason"] == told


async def test_the_health_page_says_whether_the_directory_answers(stage: Stage, bent: BentDirectory) -> None:
    browser = await stage.signed_in(await stage.enrol("gao.ning", "administrator"))
    assert "1 answer; not available 0 times since the start." in (await browser.get("/health")).text
    bent.mode = "garbage"
    page = await browser.get("/health")
    assert "The directory “ad” cannot be asked (nonsense)" in page.text
    bent.mode = ""
    assert "1 answer; not available 1 times since the start." in (await browser.get("/health")).text
