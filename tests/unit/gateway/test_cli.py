"""The command line from outside: exit codes, plain sentences, accounts end to end on the embedded database."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pyotp
import pytest
from typer.testing import CliRunner

from gateway.access.resets import ResetRefused
from gateway.access.role_changes import RoleChangeRefused
from gateway.access.users import Profile
from gateway.accounts import Accounts, open_accounts
from gateway.cli import command_line
from gateway.database import EmbeddedPostgres
from gateway.opening import embedded_folder, open_database
from gateway.rights_desk import agree
from gateway.settings_file import read_settings

RUNNER = CliRunner()
PASSWORD = "quiet lantern river 52"


def run(*arguments: str, typed: str | None = None) -> tuple[int, str]:
    done = RUNNER.invoke(command_line(), list(arguments), input=typed)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A settings file with secrets, its own embedded database and an upstream that is not there."""
    folder = tmp_path_factory.mktemp("crmgate")
    for part in (folder, *folder.parents):
        if os.geteuid() == 0 and str(part).startswith("/tmp/"):
            part.chmod(0o755)  # as root the database runs as another account, which has to pass
    file = folder / "crmgate.toml"
    code, said = run("init", "--upstream", "http://127.0.0.1:9", "--profile", "creme", "--config", str(file))
    assert code == 0, said
    assert "Keep copies" in said
    # Held open, so that the commands below find it running, as they do beside a running gateway.
    with EmbeddedPostgres(embedded_folder(read_settings(file)), {"fsync": "off"}):
        yield file


def test_init_twice_changes_nothing(installation: Path) -> None:
    before = installation.read_bytes()
    code, said = run("init", "--upstream", "http://127.0.0.1:9", "--profile", "creme", "-c", str(installation))
    assert code == 1
    assert "exists already" in said
    assert installation.read_bytes() == before


def test_init_with_a_crm_that_does_not_answer_asks_for_the_profile(tmp_path: Path) -> None:
    code, said = run("init", "--upstream", "http://127.0.0.1:9", "-c", str(tmp_path / "x.toml"))
    assert code == 2
    assert "--profile" in said
    assert not (tmp_path / "x.toml").exists()


def test_check_says_it_in_two_languages(installation: Path) -> None:
    code, said = run("check", "-c", str(installation))
    assert code == 1
    assert "127.0.0.1:9 cannot be reached" in said
    code, said = run("check", "--language", "zh", "-c", str(installation))
    assert code == 1
    assert "无法连接 CRM 127.0.0.1:9" in said
    assert run("check", "--language", "fr", "-c", str(installation))[0] == 2


def test_missing_and_broken_settings_have_their_own_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CRMGATE_CONFIG", raising=False)
    code, said = run("check")
    assert code == 2
    assert "crmgate init" in said
    (tmp_path / "crmgate.toml").write_text("[tenat]\n")
    code, said = run("serve")
    assert code == 2
    assert "did you mean tenant?" in said


def _link(installation: Path, config: tuple[str, str]) -> None:
    """An identity elsewhere is linked to one account, and taken away again."""
    link = ("user", "link", "ma.admin", "--provider", "corp", "--subject")
    assert run(*link, "0b6f2e", *config)[0] == 2
    kept = installation.read_text(encoding="utf-8")
    provider = """
[[sign_in.provider]]
name = "corp"
label = "Company account"
issuer = "https://id.example.org"
client_id = "crmgate"
"""
    installation.write_text(kept + provider, encoding="utf-8")
    try:
        assert run(*link, "0b6f2e", *config)[0] == 0
        assert run(*link, "0b6f2e", *config)[0] == 0
        code, said = run(*link, "another", *config)
        assert (code, "Not linked" in said) == (1, True)
        assert "corp" in run("user", "list", *config)[1]
        assert run("user", "unlink", "ma.admin", "--provider", "corp", *config)[0] == 0
        assert run("user", "unlink", "ma.admin", "--provider", "corp", *config)[0] == 1
        assert "corp" not in run("user", "list", *config)[1]
    finally:
        installation.write_text(kept, encoding="utf-8")


def test_accounts(installation: Path) -> None:
    config = ("-c", str(installation))
    code, said = run("user", "add", "ma.admin", "--role", "administrator", "--name", "Jun Ma", *config)
    assert code == 0
    assert "https://crm.localhost:8443/.crmgate/set-up?token=" in said
    assert run("user", "add", "MA.admin", "--role", "sales", *config)[0] == 1
    code, said = run("user", "add", "x", "--role", "nonsense", *config)
    assert (code, "role-unknown" in said) == (1, True)
    assert run("user", "roles", "ma.admin", "--role", "manager", "--role", "auditor", *config)[0] == 0
    code, said = run("user", "list", *config)
    assert "auditor, manager" in said
    _link(installation, config)
    assert run("user", "disable", "ma.admin", *config)[0] == 0
    assert "disabled" in run("user", "list", *config)[1]
    assert run("user", "enable", "ma.admin", *config)[0] == 0
    assert "set-up?token=" in run("user", "reset-code", "ma.admin", *config)[1]
    assert run("user", "disable", "nobody", *config)[0] == 1
    code, said = run("keys", "status", *config)
    assert code == 0
    assert "provider local: can be used" in said
    assert "new values: aes-256-gcm\n" in said
    assert "3DES" not in said
    kept = installation.read_text(encoding="utf-8")
    switched = kept.replace("[keys]", '[keys]\nsuite = "3des-cbc-hmac"\nlegacy_3des = true\ncommitment = true', 1)
    try:
        installation.write_text(switched, encoding="utf-8")
        code, said = run("keys", "status", *config)
    finally:
        installation.write_text(kept, encoding="utf-8")
    assert code == 0
    assert "new values: 3des-cbc-hmac, each with a commitment to its key" in said
    assert "legacy_3des is on" in said


def test_where_a_person_comes_from_and_stands(installation: Path) -> None:
    config = ("-c", str(installation))
    assert run("user", "add", "he.lin", "--role", "sales", *config)[0] == 0
    code, said = run("user", "networks", "he.lin", *config)
    assert (code, "he.lin: from anywhere" in said) == (0, True)
    code, said = run("user", "networks", "he.lin", "--network", "10.1.0.0/16", "--network", "2001:db8::/48", *config)
    assert (code, "he.lin: 10.1.0.0/16, 2001:db8::/48" in said) == (0, True)
    code, said = run("user", "networks", "he.lin", "--network", "10.1.0.0/99", *config)
    assert (code, "10.1.0.0/99" in said) == (1, True)
    assert "10.1.0.0/16" in run("user", "networks", "he.lin", *config)[1]
    assert "from anywhere" in run("user", "networks", "he.lin", "--anywhere", *config)[1]
    code, said = run("user", "place", "he.lin", "--department", "销售部", "--position", "lead", *config)
    assert (code, "he.lin: dept:销售部, position:lead" in said) == (0, True)
    assert "The policy in force says nothing of position:lead" in said
    code, said = run("user", "place", "he.lin", "--department", "a,b", *config)
    assert (code, "can be no department or position" in said) == (2, True)
    assert "sales" in run("user", "list", *config)[1]
    assert "no department and no position" in run("user", "place", "he.lin", *config)[1]


def test_a_program_is_made_changed_listed_and_revoked(installation: Path) -> None:
    config = ("-c", str(installation))
    typed = "sync\nsecret-of-the-crm\n"
    code, said = run("client", "add", "sync", "--role", "sales", "--network", "10.1.0.0/16", *config, typed=typed)
    assert code == 0, said
    token = re.search(r"^  (\S+)$", said, re.MULTILINE)
    assert token is not None
    code, said = run("client", "list", *config)
    assert code == 0
    assert "10.1.0.0/16" in said
    assert "never" in said
    assert token.group(1) not in said
    assert run("client", "set", "sync", *config)[0] == 2
    assert run("client", "set", "sync", "--network", "nonsense", *config)[0] == 2
    code, said = run("client", "set", "sync", "--role", "nonsense", *config)
    assert (code, "nonsense" in said) == (2, True)
    code, said = run("client", "set", "nobody", "--days", "7", *config)
    assert (code != 0, "nobody" in said) == (True, True)
    code, said = run("client", "set", "sync", "--role", "manager", "--network", "10.2.0.0/16", "--days", "7", *config)
    assert code == 0, said
    said = run("client", "list", *config)[1]
    assert "10.2.0.0/16" in said
    assert "10.1.0.0/16" not in said
    assert "manager" in said
    assert run("client", "revoke", "sync", *config)[0] == 0
    assert "revoked" in run("client", "list", *config)[1]


def test_help_without_an_installation(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "serve" in done.stdout


def test_evidence_says_of_every_part_what_is_seen_and_refutes_nothing_here(installation: Path) -> None:
    """The CRM is not there and nobody serves, so those legs are not visible; loopback and sockets are proved."""
    code, said = run("evidence", "encryption", "-c", str(installation))
    rows = {line.split("  ")[0].strip(): line for line in said.splitlines()}
    assert "proved" in rows["crmgate → CRM of main"]
    assert "not visible" in rows["clients → console"]
    assert "proved" in rows["crmgate → its database"]
    assert "database of crmgate" in rows
    assert code == ("refuted" in said)


async def enrolled(file: Path, *people: tuple[str, str, str]) -> None:
    """Accounts (login, role, secret of the app) that can sign in."""
    settings = read_settings(file)
    database = await asyncio.to_thread(open_database, settings)
    try:
        async with open_accounts(settings, next(iter(settings.tenants)), database.dsn) as accounts:
            for login, role, secret in people:
                user = await accounts.users.create(accounts.tenant, login, Profile(roles=(role,)))
                await accounts.users.provision(user, PASSWORD, secret)
    finally:
        await asyncio.to_thread(database.close)


def test_a_reset_at_the_command_line_takes_two_administrators(installation: Path) -> None:
    config = ("-c", str(installation))
    secrets = {login: pyotp.random_base32() for login in ("fan.yi", "tan.er", "li.san")}
    people = [(login, "sales" if login == "li.san" else "administrator", key) for login, key in secrets.items()]
    asyncio.run(enrolled(installation, *people))

    def step(command: str, by: str, password: str = PASSWORD) -> tuple[int, str]:
        typed = f"{password}\n{pyotp.TOTP(secrets[by]).now()}\n"
        return run("user", command, "li.san", "--by", by, *config, typed=typed)

    code, said = run("user", "reset-code", "li.san", *config)
    assert (code, "Two administrators" in said) == (1, True)
    code, said = step("reset-code", "tan.er", "wrong")
    assert (code, "not right" in said) == (1, True)
    code, said = step("reset-code", "fan.yi")
    assert (code, "set-up?token=" in said) == (0, False)
    # The first person's next code would do, were it another person: nobody approves what they started themselves.
    settings = read_settings(installation)
    tenant = next(iter(settings.tenants))
    assert asyncio.run(approval_by_the_first(installation, tenant)) == "reset-same"
    code, said = step("approve-reset", "tan.er")
    assert (code, "set-up?token=" in said) == (0, True), said
    assert "not set up" in run("user", "list", *config)[1]


def test_rights_at_the_command_line_take_two_people_once_there_are_two(installation: Path) -> None:
    config = ("-c", str(installation))
    usual = installation.read_text(encoding="utf-8")
    try:
        installation.write_text(usual.replace("[access]", '[access]\ngrants = "two-people"', 1), encoding="utf-8")
        asyncio.run(rights_at_the_command_line(installation, config))
    finally:
        installation.write_text(usual, encoding="utf-8")


async def rights_at_the_command_line(file: Path, config: tuple[str, str]) -> None:
    """The steps; in a loop of its own so that accounts can be looked at in between."""
    keys = {login: pyotp.random_base32() for login in ("gu.an", "yi.ren", "xin.ren")}

    async def step(*arguments: str, by: str = "", more: str = "") -> tuple[int, str]:
        typed = f"{PASSWORD}\n{pyotp.TOTP(keys[by]).now()}\n{more}" if by else more or None
        return await asyncio.to_thread(run, *arguments, *(("--by", by) if by else ()), *config, typed=typed)

    # The first ones are made by whoever has the machine: nobody could agree yet.
    await switched_off(file, "fan.yi", "tan.er")
    for login in ("gu.an", "yi.ren"):
        code, said = await step("user", "add", login, "--role", "administrator")
        assert (code, "set-up?token=" in said) == (0, True), said
    await provisioned(file, keys, "gu.an", "yi.ren")
    code, said = await step("user", "add", "xin.ren", "--role", "sales")
    assert (code, "--by LOGIN" in said, "两人" in said) == (1, True, True)
    code, said = await step("user", "add", "xin.ren", "--role", "sales", by="gu.an")
    assert (code, "rights agree g" in said, "set-up?token=" in said) == (0, True, True), said
    name = re.search(r"rights agree (\S+) --by", said)
    assert name is not None
    assert "xin.ren" in (await step("rights", "list"))[1]
    assert "sales" not in (await step("user", "list"))[1].partition("xin.ren")[2].partition("\n")[0]
    code, said = await step("rights", "agree", name[1], by="yi.ren")
    assert (code, "not set up" in said) == (1, True), said
    await provisioned(file, keys, "xin.ren")
    assert await agreed_by(file, "gu.an", name[1]) == "change-same"
    assert await agreed_by(file, "xin.ren", name[1]) == "own-roles"
    assert await agreed_by(file, "yi.ren", name[1]) == ""
    assert "sales" in (await step("user", "list"))[1].partition("xin.ren")[2].partition("\n")[0]
    # Taking away needs nobody else; giving, also by a department, does.
    code, said = await step("user", "place", "xin.ren", "--department", "north")
    assert (code, "--by LOGIN" in said) == (1, True)
    assert (await step("user", "roles", "xin.ren", "--role", "manager"))[0] == 1
    assert (await step("user", "place", "xin.ren"))[0] == 0


def test_an_emergency_at_the_command_line_needs_who_it_is_and_another_one(installation: Path) -> None:
    config = ("-c", str(installation))
    keys = {login: pyotp.random_base32() for login in ("mei.an", "bo.wen")}
    asyncio.run(
        enrolled(installation, ("mei.an", "manager", keys["mei.an"]), ("bo.wen", "administrator", keys["bo.wen"]))
    )

    def step(*arguments: str, by: str, password: str = PASSWORD) -> tuple[int, str]:
        typed = f"{password}\n{pyotp.TOTP(keys[by]).now()}\n"
        return run("break-glass", *arguments, "--by", by, *config, typed=typed)

    wish = ("ask", "--role", "administrator", "--hours", "1", "--reason", "drill")
    code, said = step(*wish, by="mei.an", password="wrong")
    assert (code, "not right" in said) == (1, True)
    code, said = step(*wish, by="mei.an")
    assert (code, "alarm is out" in said, "不发送邮件" in said) == (0, True, True), said
    name = re.search(r"break-glass agree (\S+)", said)
    assert name is not None
    assert "alarm" in run("break-glass", "list", *config)[1]
    code, said = step("agree", name[1], by="bo.wen")
    assert (code, "mei.an has the role administrator now" in said) == (0, True), said
    assert "open" in run("break-glass", "list", *config)[1]
    asyncio.run(ended(installation, name[1], "bo.wen"))
    assert name[1] not in run("break-glass", "list", *config)[1]


async def ended(file: Path, name: str, login: str) -> None:
    async def work(accounts: Accounts) -> None:
        admin = await accounts.users.by_login(accounts.tenant, login)
        assert admin is not None
        await accounts.emergencies.end(accounts.tenant, name, admin)

    await with_accounts(file, work)


async def with_accounts(file: Path, work: Callable[[Accounts], Awaitable[None]]) -> None:
    settings = read_settings(file)
    database = await asyncio.to_thread(open_database, settings)
    try:
        async with open_accounts(settings, next(iter(settings.tenants)), database.dsn) as accounts:
            await work(accounts)
    finally:
        await asyncio.to_thread(database.close)


async def switched_off(file: Path, *logins: str) -> None:
    async def work(accounts: Accounts) -> None:
        for login in logins:
            user = await accounts.users.by_login(accounts.tenant, login)
            if user is not None:
                await accounts.users.disable(user)

    await with_accounts(file, work)


async def provisioned(file: Path, keys: dict[str, str], *logins: str) -> None:
    async def work(accounts: Accounts) -> None:
        for login in logins:
            user = await accounts.users.by_login(accounts.tenant, login)
            assert user is not None
            await accounts.users.provision(user, PASSWORD, keys[login])

    await with_accounts(file, work)


async def agreed_by(file: Path, login: str, name: str) -> str:
    """Why somebody's agreement is refused, "" when it is not; their code is asked for by another test."""
    said: list[str] = []

    async def work(accounts: Accounts) -> None:
        admin = await accounts.users.by_login(accounts.tenant, login)
        assert admin is not None
        try:
            await agree(accounts, name, admin)
            said.append("")
        except RoleChangeRefused as refused:
            said.append(refused.problem)

    await with_accounts(file, work)
    return said[0]


async def approval_by_the_first(file: Path, tenant: str) -> str:
    settings = read_settings(file)
    database = await asyncio.to_thread(open_database, settings)
    try:
        async with open_accounts(settings, tenant, database.dsn) as accounts:
            first = await accounts.users.by_login(tenant, "fan.yi")
            user = await accounts.users.by_login(tenant, "li.san")
            assert first is not None
            assert user is not None
            with pytest.raises(ResetRefused) as caught:
                await accounts.resets.approve(user, first.id)
            return caught.value.problem
    finally:
        await asyncio.to_thread(database.close)
