"""Accounts: invitations, resets, own changes, and what each of them ends."""

import asyncio

import pytest

from gateway.access.passwords import PasswordRefused, PasswordWrong
from gateway.access.sessions import NoSession
from gateway.access.sign_in import Attempt
from gateway.access.store import LoginTaken
from gateway.access.throttle_store import ThrottleStore
from gateway.access.totp import CodeWrong
from gateway.access.users import AccountRefused, InvitationInvalid, Profile

NEW = "seven quiet lanterns 81"


async def test_an_invitation_sets_both_factors_once(access) -> None:
    user = await access.users.create("t1", "zhou.min", Profile(roles=("sales",)))
    token, _ = await access.users.invite(user, "u-admin")
    invitation = await access.users.invitation("t1", token)
    assert invitation.user.login == "zhou.min"
    await access.users.accept("t1", token, NEW, access.code(invitation.secret))
    with pytest.raises(InvitationInvalid):
        await access.users.invitation("t1", token)
    access.clock.advance(seconds=30)
    await access.sign_in.at_once("t1", "zhou.min", NEW, access.code(invitation.secret), "192.0.2.7")


async def test_the_code_that_proved_the_app_cannot_be_used_to_sign_in(access) -> None:
    user = await access.users.create("t1", "zhou.min", Profile())
    token, _ = await access.users.invite(user, "")
    code = access.code((await access.users.invitation("t1", token)).secret)
    await access.users.accept("t1", token, NEW, code)
    with pytest.raises(Attempt):
        await access.sign_in.at_once("t1", "zhou.min", NEW, code, "192.0.2.7")


async def test_of_parallel_uses_of_one_invitation_one_wins(access, other_node) -> None:
    user = await access.users.create("t1", "zhou.min", Profile())
    token, _ = await access.users.invite(user, "")
    code = access.code((await access.users.invitation("t1", token)).secret)
    tried = [node.users.accept("t1", token, NEW, code) for node in (access, other_node) * 2]
    results = await asyncio.gather(*tried, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) == 1


async def test_an_invitation_expires_is_replaced_and_belongs_to_its_tenant(access) -> None:
    user = await access.users.create("t1", "zhou.min", Profile())
    first, _ = await access.users.invite(user, "")
    second, expires = await access.users.invite(user, "")
    assert await access.users.invited("t1") == {user.id: expires}
    for tenant, token in (("t1", first), ("t2", second), ("t1", "A" * 43), ("t1", "")):
        with pytest.raises(InvitationInvalid):
            await access.users.invitation(tenant, token)
    access.clock.advance(hours=48)
    with pytest.raises(InvitationInvalid):
        await access.users.invitation("t1", second)
    assert await access.users.invited("t1") == {}


async def test_a_weak_password_or_wrong_code_leaves_the_invitation_usable(access) -> None:
    user = await access.users.create("t1", "zhou.min", Profile())
    token, _ = await access.users.invite(user, "")
    code = access.code((await access.users.invitation("t1", token)).secret)
    with pytest.raises(PasswordRefused):
        await access.users.accept("t1", token, "password1234", code)
    with pytest.raises(CodeWrong):
        await access.users.accept("t1", token, NEW, "12345")
    await access.users.accept("t1", token, NEW, code)


async def test_the_secret_of_the_second_factor_is_never_stored_in_the_clear(pool, access) -> None:
    user = await access.users.create("t1", "zhou.min", Profile())
    token, _ = await access.users.invite(user, "")
    secret = (await access.users.invitation("t1", token)).secret
    async with pool.connection() as db:
        sealed = (await (await db.execute("SELECT totp_secret FROM app_invitation")).fetchone())[0]
        assert secret.encode() not in sealed
    await access.users.accept("t1", token, NEW, access.code(secret))
    async with pool.connection() as db:
        row = await (await db.execute("SELECT totp_secret, password_hash FROM app_user")).fetchone()
    assert secret.encode() not in row[0]
    assert row[1].startswith("$argon2id$")


async def test_a_reset_ends_everything_the_person_had(access, li) -> None:
    token = await access.sessions.open(li.user, "", access.clock())
    invitation, _ = await access.users.reset(li.user, "u-admin")
    with pytest.raises(NoSession):
        await access.sessions.principal(token, access.clock())
    with pytest.raises(Attempt):
        await access.sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret), "192.0.2.7")
    assert (await access.users.invitation("t1", invitation)).secret != li.secret


async def test_closing_an_account_ends_its_sessions_and_reopening_gives_none_back(access, li) -> None:
    token = await access.sessions.open(li.user, "", access.clock())
    await access.users.disable(li.user)
    with pytest.raises(NoSession):
        await access.sessions.principal(token, access.clock())
    await access.users.enable(li.user)
    with pytest.raises(NoSession):
        await access.sessions.principal(token, access.clock())
    await access.sign_in.at_once("t1", "li.wei", li.password, access.code(li.secret), "192.0.2.7")


async def test_a_closed_account_cannot_take_up_its_invitation(access) -> None:
    user = await access.users.create("t1", "zhou.min", Profile())
    token, _ = await access.users.invite(user, "")
    await access.users.disable(user)
    with pytest.raises(InvitationInvalid):
        await access.users.invitation("t1", token)


async def test_roles_change_in_open_sessions_at_once(access, other_node, li) -> None:
    token = await access.sessions.open(li.user, "", access.clock())
    await access.sessions.principal(token, access.clock())
    await access.users.change(li.user, Profile(roles=("manager",), crm_user="42"))
    principal = await access.sessions.principal(token, access.clock())
    assert (principal.roles, principal.crm_user) == (("manager",), "42")


async def test_the_own_password_is_changed_with_the_current_one_and_ends_other_sessions(access, li) -> None:
    mine, other = [await access.sessions.open(li.user, "", access.clock()) for _ in range(2)]
    keep = (await access.sessions.principal(mine, access.clock())).session_id
    with pytest.raises(PasswordWrong):
        await access.users.change_password("t1", li.user.id, "not it", NEW, keep_session=keep)
    with pytest.raises(PasswordRefused):
        await access.users.change_password("t1", li.user.id, li.password, "short", keep_session=keep)
    await access.users.change_password("t1", li.user.id, li.password, NEW, keep_session=keep)
    await access.sessions.principal(mine, access.clock())
    with pytest.raises(NoSession):
        await access.sessions.principal(other, access.clock())
    await access.sign_in.at_once("t1", "li.wei", NEW, access.code(li.secret), "192.0.2.7")


async def test_a_login_is_unique_in_its_tenant_however_it_is_spelled(access, li) -> None:
    with pytest.raises(LoginTaken):
        await access.users.create("t1", "LI.WEI", Profile())
    await access.users.create("t2", "li.wei", Profile())
    assert (await access.users.by_login("t1", " Li.Wei ")).id == li.user.id


@pytest.mark.parametrize("login", ["", " ", "a b", "x" * 201, "a\nb", "a\x00b", "a\u202eb", "\ud800"])
async def test_what_can_be_no_login_is_refused(access, login) -> None:
    with pytest.raises(AccountRefused):
        await access.users.create("t1", login, Profile())


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        (Profile(roles=("root",)), "role-unknown"),
        (Profile(display_name="x" * 201), "name-invalid"),
        (Profile(display_name="a\nb"), "name-invalid"),
        (Profile(crm_user="a b"), "crm-user-invalid"),
        (Profile(language="xx"), "language-unknown"),
    ],
)
async def test_what_an_administrator_may_not_set_is_refused(access, li, profile, problem) -> None:
    with pytest.raises(AccountRefused) as refused:
        await access.users.change(li.user, profile)
    assert refused.value.problem == problem


async def test_the_language_a_person_chooses_is_remembered(access, li) -> None:
    await access.users.choose_language("t1", li.user.id, "zh_Hans")
    assert (await access.users.get("t1", li.user.id)).language == "zh_Hans"
    with pytest.raises(AccountRefused):
        await access.users.choose_language("t1", li.user.id, "xx")


async def test_sweeping_deletes_what_has_expired(pool, access, li) -> None:
    await access.sign_in.password_step("t1", "li.wei", li.password, "192.0.2.7")
    await access.users.invite(li.user, "")
    access.clock.advance(days=3)
    await access.store.sweep(access.clock())
    await ThrottleStore(pool).sweep(access.clock())
    async with pool.connection() as db:
        for table in ("app_sign_in", "app_invitation", "app_throttle"):
            assert (await (await db.execute(f"SELECT count(*) FROM {table}")).fetchone())[0] == 0


async def test_a_placement_counts_as_roles_do_and_survives_a_change_of_roles(access) -> None:
    user = await access.users.create("t1", "zhou.min", Profile(roles=("sales",)))
    await access.users.place(user, ["position:lead", "dept:销售部", "dept:销售部"])
    placed = await access.users.get("t1", user.id)
    assert placed.roles == ("sales", "dept:销售部", "position:lead")
    assert (placed.assigned, placed.placements) == (("sales",), ("dept:销售部", "position:lead"))
    await access.users.change(placed, Profile(roles=("manager",)))
    assert (await access.users.get("t1", user.id)).roles == ("manager", "dept:销售部", "position:lead")
    await access.users.place(placed, [])
    assert (await access.users.get("t1", user.id)).roles == ("manager",)


@pytest.mark.parametrize("name", ["sales", "dept:", "dept:a b", "team:a"])
async def test_what_is_no_placement_is_refused(access, name: str) -> None:
    user = await access.users.create("t1", "zhou.min", Profile())
    with pytest.raises(AccountRefused, match="placement-invalid"):
        await access.users.place(user, [name])
    with pytest.raises(AccountRefused, match="role-unknown"):
        await access.users.change(user, Profile(roles=("dept:north",)))
