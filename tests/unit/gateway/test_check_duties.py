"""An administrator is told of rows and accounts that join duties which are kept apart."""

from pathlib import Path
from typing import Any

from gateway.access.users import Profile
from gateway.check_duties import check_accounts, check_duties
from gateway.check_words import SENTENCES, say
from gateway.database import Pool
from gateway.settings import Settings
from gateway.settings_file import build_settings
from policies.duty import THREE_ROLES
from policies.enforcer import DEFAULT_POLICY
from tests.unit.gateway.access.world import Clock, build


def apart(folder: Path = Path("/x"), *, separation: str = "three-roles", **tenant: Any) -> Settings:
    main = {"upstream": "http://127.0.0.1:1"} | tenant
    return build_settings({"access": {"separation": separation}, "tenant": {"main": main}}, folder / "crmgate.toml")


def test_separation_brings_its_own_policy_and_two_people_for_rights() -> None:
    settings = apart()
    assert settings.tenants["main"].policy == THREE_ROLES
    assert settings.access.separated
    assert settings.access.two_people
    assert list(check_duties(settings)) == []
    off = apart(separation="none")
    assert off.tenants["main"].policy is None
    assert not off.access.two_people
    assert list(check_duties(off)) == []


def test_a_policy_file_that_joins_duties_is_a_problem_said_in_both_languages(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(DEFAULT_POLICY.read_text(encoding="utf-8"), encoding="utf-8")
    found = list(check_duties(apart(tmp_path, policy="own.csv")))
    assert {dict(one.values)["role"] for one in found} == {"administrator", "dpo"}
    assert {one.id for one in found} <= set(SENTENCES)
    assert "does not start" in say(found[0], "en")
    assert "不会以此策略启动" in say(found[0], "zh")
    (tmp_path / "own.csv").write_text("nonsense", encoding="utf-8")
    assert list(check_duties(apart(tmp_path, policy="own.csv"))) == []


async def test_an_account_that_stands_already_is_named(pool: Pool) -> None:
    users = build(pool, Clock()).users
    users.roles = ("audit-admin", "system-admin")
    await users.create("main", "zhou.min", Profile(roles=("audit-admin", "system-admin")))
    await users.create("main", "li.wei", Profile(roles=("audit-admin",)))
    (found,) = await check_accounts(apart(), pool)
    assert (found.id, found.place) == ("duties-account", "tenant.main.account.zhou.min")
    assert "audit + system" in say(found, "en")
    assert await check_accounts(apart(separation="none"), pool) == []
