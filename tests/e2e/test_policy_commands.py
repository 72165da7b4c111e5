"""`crmgate policy`: the life of a bundle as commands of a real installation, by people with both factors."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyotp
import pytest
from typer.testing import CliRunner, Result

from audit.log import AuditLog
from audit.note import ensure_signer
from gateway.access.users import Profile
from gateway.accounts import open_accounts
from gateway.cli import command_line
from gateway.composition_policy import live_bundles
from gateway.database import open_pool
from gateway.first_steps import ensure_secrets
from gateway.installation import Installation
from gateway.opening import Database, open_database
from gateway.settings import Settings
from gateway.settings_file import read_settings
from policies.enforcer import DEFAULT_POLICY
from policies.profile import load_profile
from tests.drills.stack import Member

pytestmark = pytest.mark.real
# One person a step: a code is good once.
ADMINISTRATORS = ("an", "bo", "chen", "dan", "eve")
CHECKS = """
- given: {roles: [intern]}
  ask: op:console.live read
  expect: allow
- given: {roles: [intern]}
  ask: op:console.users read
  expect: deny
- given: {roles: [intern], at: 2030-12-31}
  ask: field:contact.phone other contact.region=north
  expect: clear
- given: {roles: [intern], at: 2031-01-01}
  ask: field:contact.phone other contact.region=north
  expect: hidden
- given: {roles: [intern]}
  ask: field:contact.phone other
  expect: hidden
"""
NORTH = "p, intern, *, field:contact.phone, clear, any, where=contact.region:north, until=2030-12-31"


@dataclass
class Place:
    """An installation with five administrators."""

    folder: Path
    settings: Settings
    database: Database
    members: dict[str, Member] = field(default_factory=dict)

    def run(self, *words: str, by: str = "") -> Result:
        typed = f"{self.members[by].password}\n{self.members[by].code()}\n" if by else ""
        who = ["--login", by] if by else []
        return CliRunner().invoke(
            command_line(["policy", "review", "audit"]),
            [*words, *who, "--config", str(self.settings.file)],
            input=typed,
        )

    async def start(self) -> tuple[int, str]:
        """A node starts: number and version of its bundle."""
        pool, log = await open_pool(self.database.dsn, max_size=2), AuditLog(self.database.dsn)
        await log.start()
        try:
            profile = load_profile(self.settings.tenants["main"].profile)
            live = await live_bundles(self.settings, {"main": Installation(profile)}, pool, log)
            return live.number("main"), live["main"].version
        finally:
            await log.close()
            await pool.close()

    async def staff(self) -> None:
        async with open_accounts(self.settings, "main", self.database.dsn) as accounts:
            for login in ADMINISTRATORS:
                member = Member(login, "administrator", pyotp.random_base32())
                user = await accounts.users.create("main", login, Profile(login, ("administrator",)))
                await accounts.users.provision(user, member.password, member.secret)
                self.members[login] = member


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="crmgate-policy-"))
    folder.chmod(0o711)  # as root the embedded database runs as another account, which has to pass
    file = folder / "crmgate.toml"
    file.write_text('state = "state"\n[tenant.main]\nupstream = "http://127.0.0.1:1"\nprofile = "bottle"\n')
    settings = read_settings(file)
    ensure_secrets(settings)
    ensure_signer(settings.checkpoint_key_path)
    database = open_database(settings)
    made = Place(folder, settings, database)
    try:
        asyncio.run(made.staff())
        yield made
    finally:
        database.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_bundle_from_draft_to_rollback(place: Place) -> None:
    number, shipped = asyncio.run(place.start())
    assert number == 1
    rows, checks = place.folder / "rows.csv", place.folder / "checks.yaml"
    rows.write_text(DEFAULT_POLICY.read_text(encoding="utf-8") + f"{NORTH}\np, intern, *, op:console.live, read, any\n")
    checks.write_text(CHECKS)

    done = place.run("policy", "draft", str(rows), "--checks", str(checks), by="an")
    assert (done.exit_code, "Bundle 2 is a draft" in done.output) == (0, True), done.output
    limited = "p,intern,*,field:contact.phone,clear,any,allow,where=contact.region:north,until=2031-01-01T00:00:00Z"
    assert place.run("policy", "diff", "2").output == f"+ {limited}\n+ p,intern,*,op:console.live,read,any,allow\n"
    assert place.run("policy", "check", "2").exit_code == 0
    assert place.run("policy", "propose", "2", by="bo").exit_code == 0
    refused = place.run("policy", "explain", "intern", "op:console.live")
    assert refused.exit_code == 2  # nobody has such a role before the bundle is in force
    done = place.run("policy", "publish", "2", by="chen")
    assert done.exit_code == 0, done.output
    assert asyncio.run(place.start())[0] == 2

    told = place.run("policy", "explain", "intern", "op:console.live").output
    line = len(rows.read_text().splitlines())
    assert f"line {line}: p, intern, *, op:console.live, read, any" in told
    asked = ["policy", "explain", "intern", "contact.phone"]
    phone = "field:contact.phone#phone"
    told = place.run(*asked, "--given", "contact.region=north").output
    assert f"{phone} clear other contact.region=north: yes\n  line {line - 1}: {NORTH}" in told
    assert f"{phone} reveal other contact.region=north: no" in told
    assert f"{phone} export own contact.region=north: yes" in told
    assert f"{phone} clear other: no" in place.run(*asked).output
    late = place.run(*asked, "--given", "contact.region=north", "--at", "2031-01-01").output
    assert f"{phone} clear other contact.region=north: no" in late
    for wrong in (("--given", "region"), ("--at", "soon")):
        assert place.run(*asked, *wrong).exit_code == 2
    told = place.run("policy", "explain", "an", "op:console.policy", "--action", "other").output
    assert "an: administrator" in told
    assert "op:console.policy other: yes" in told

    done = place.run("policy", "simulate", "1", "--days", "1")
    assert done.exit_code == 0, done.output
    assert " entries since " in done.output
    assert "Nothing that was done would be different" in done.output

    done = place.run("policy", "rollback", "1", by="dan")
    assert (done.exit_code, "Bundle 3" in done.output) == (0, True), done.output
    assert place.run("policy", "publish", "3", by="eve").exit_code == 0
    assert asyncio.run(place.start()) == (3, shipped)
    listed = place.run("policy", "list").output
    for words in ("3  published", "2  retired", "published by installation", "published by eve", "what bundle 1 said"):
        assert words in listed
    listed = place.run("review", "list").output
    assert "an administrator: since " in listed
    done = place.run("review", "start", by="chen")
    assert (done.exit_code, "Round 1 is open" in done.output) == (0, True), done.output
    shown = place.run("review", "show", "1").output
    item = next(line for line in shown.splitlines() if " an administrator: " in line).split()[0]
    done = place.run("review", "decide", "1", "--remove", item, by="bo")
    assert "1 decisions kept" in done.output, done.output
    assert place.run("review", "decide", "1", "--remove", item, "--keep", item, by="dan").exit_code == 2
    sheet = place.folder / "round.csv"
    assert place.run("review", "show", "1", "--csv", str(sheet)).exit_code == 0
    assert ",remove,bo," in sheet.read_text(encoding="utf-8-sig")
    assert place.run("review", "show", "1", "--csv", str(sheet)).exit_code == 2
    assert "1  started by chen" in place.run("review", "rounds").output
    zh = ("--language", "zh")
    listed = place.run("policy", *zh, "list").output
    for words in ("3  生效中", "2  已被取代", "由 eve 发布", "内容与策略包 1 相同"):
        assert words in listed
    told = place.run("policy", *zh, "explain", "nobody", "op:console.policy", "--action", "other")
    assert (told.exit_code, "没有名为 nobody 的账号或角色" in told.output) == (2, True)
    assert "已发生的操作都不会有变化" in place.run("policy", *zh, "simulate", "1", "--days", "1").output
    assert place.run("policy", *zh, "show", "9").output == "没有策略包 9。\n"
    refused = place.run("review", *zh, "start", by="dan")
    assert (refused.exit_code, "未执行：已有一轮复核在进行，请先结束它。" in refused.output) == (1, True), (
        refused.output
    )
    assert "验证器应用中的验证码" in refused.output
    shown = place.run("review", *zh, "show", "1").output
    assert "由 bo 决定移除" in shown
    assert "待移除 1 项（已完成 0 项）" in shown
    assert "1  " in place.run("review", *zh, "rounds").output
    done = place.run("audit", "verify")
    assert done.exit_code == 0, done.output
