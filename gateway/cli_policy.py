"""`crmgate policy`: the bundles of rows that decide who may do what, from draft to publication, and why they decide so.

Who drafts, proposes, publishes or rolls back identifies with login, password and a code of the authenticator app, typed
at the terminal. Looking needs no account: whoever can read the settings can read the database.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from audit.log import AuditLog
from gateway.access.sign_in import Attempt
from gateway.bundles.bundle import StoredBundle
from gateway.bundles.desk import BundleRefused, PolicyDesk
from gateway.bundles.explaining import Circumstances, NothingToExplain
from gateway.bundles.explaining import explain as explained
from gateway.bundles.replaying import ENTRIES_LIMIT, replay
from gateway.cli_destroy import Login, credentials, said
from gateway.cli_installed import installed
from gateway.cli_policy_show import lines_of, part_of
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
)
from gateway.cli_words import say, speak, why
from gateway.database import Pool, open_pool
from gateway.key_custody import sign_in_of
from gateway.key_step import NotAllowed
from gateway.opening import open_keyring
from gateway.policy_desks import desk_of
from gateway.settings import Settings
from policies.difference import difference
from policies.expectation import facts_of
from policies.profile import load_profile
from policies.window import moment

app = typer.Typer(help="Policy bundles: draft, check, simulate, publish, roll back, explain.", no_args_is_help=True)
app.callback()(speak)

Number = Annotated[int, typer.Argument(help="Number of the bundle; `list` shows them.")]
Note = Annotated[str, typer.Option("--note", help="Why; no personal data.")]
ChecksOption = Annotated[Path | None, typer.Option("--checks", help="Given/expect checks to keep with it (YAML).")]


@dataclass(frozen=True, slots=True)
class At:
    """What a command works with."""

    desk: PolicyDesk
    pool: Pool
    tenant: str


Work = Callable[[At], Awaitable[None]]


@app.command("list")
def list_all(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show the bundles, the newest first."""

    async def work(at: At) -> None:
        for one in await at.desk.store.every(at.tenant):
            out.print(f"{one.number}  {say(one.state)}  {one.version or say('malformed')}", markup=False)
            for sentence, act in (
                ("drafted by {login} {at}", one.drafted),
                ("proposed by {login} {at}", one.proposed),
                ("published by {login} {at}", one.published),
            ):
                if act is not None:
                    out.print(f"   {say(sentence, login=act.login, at=f'{act.at:%Y-%m-%d %H:%M}')}", markup=False)
            if one.restores is not None:
                out.print(f"   {say('says what bundle {number} said', number=one.restores)}", markup=False)
            if one.note:
                out.print(f"   {one.note}", markup=False)

    _run(config, tenant, work)


@app.command("show")
def show(number: Number, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Print the rows of a bundle, as `draft` takes them."""

    async def work(at: At) -> None:
        out.print((await _find(at, number)).rows, markup=False, end="")

    _run(config, tenant, work)


@app.command("diff")
def diff(
    number: Number,
    other: Annotated[int, typer.Argument(help="The bundle to compare with; 0 is the one in force.")] = 0,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Show the rows that would come (+) and go (-) with a bundle."""

    async def work(at: At) -> None:
        new = await _find(at, number)
        old = (await _find(at, other)).rows if other else await at.desk.in_force()
        found = difference(old, new.rows)
        for sign, rows in (("+", found.added), ("-", found.removed)):
            for row in rows:
                out.print(f"{sign} {row}", markup=False)
        if not found.added and not found.removed:
            out.print(say("No row differs."))

    _run(config, tenant, work)


@app.command("draft")
def draft(
    file: Annotated[Path, typer.Argument(help="Rows (CSV).")],
    login: Login,
    checks: ChecksOption = None,
    note: Note = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Keep a file of rows as a draft; an edited draft is a new one."""
    rows, expected = _text(file), "" if checks is None else _text(checks)
    given = credentials(login)

    async def work(at: At) -> None:
        number = await at.desk.draft(given, rows, expected, note)
        told = say("Bundle {number} is a draft. Look at it with: crmgate policy diff {number}", number=number)
        out.print(told, markup=False)
        told = say("Then: crmgate policy check {number}; crmgate policy propose {number}", number=number)
        out.print(told, markup=False)

    _run(config, tenant, work)


@app.command("check")
def check(number: Number, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Say whether a bundle may come into force; exit code 1 and every reason when not."""

    async def work(at: At) -> None:
        found = await _find(at, number)
        version = await at.desk.judge(found.rows, found.checks)
        told = say("Bundle {number} may come into force; its version is {version}.", number=number, version=version)
        out.print(told, markup=False)

    _run(config, tenant, work)


@app.command("propose")
def propose(number: Number, login: Login, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Propose a draft for publication."""
    given = credentials(login)

    async def work(at: At) -> None:
        found = await at.desk.propose(given, number)
        told = "Bundle {number} is proposed. Somebody other than {login} publishes it:"
        out.print(say(told, number=number, login=found.drafted.login), markup=False)
        out.print(f"  crmgate policy publish {number}", markup=False)

    _run(config, tenant, work)


@app.command("publish")
def publish(number: Number, login: Login, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Put a bundle that somebody else drafted into force on every node."""
    given = credentials(login)

    async def work(at: At) -> None:
        found = await at.desk.publish(given, number)
        told = say("Bundle {number} (version {version}) is published.", number=number, version=found.version)
        out.print(told, markup=False)

    _run(config, tenant, work)


@app.command("rollback")
def rollback(
    number: Number, login: Login, note: Note = "", tenant: TenantOption = "", config: FileOption = None
) -> None:
    """Propose an earlier bundle anew; somebody else publishes it."""
    given = credentials(login)

    async def work(at: At) -> None:
        made = await at.desk.restore(given, number, note)
        told = "Bundle {made} says what bundle {number} said and is proposed. Somebody else:"
        out.print(say(told, made=made, number=number), markup=False)
        out.print(f"  crmgate policy publish {made}", markup=False)

    _run(config, tenant, work)


@app.command("explain")
def explain(
    who: Annotated[str, typer.Argument(help="A login, or roles with commas between.")],
    what: Annotated[str, typer.Argument(help="field:ENTITY.FIELD, kind:KIND or op:ID; field: may be left out.")],
    action: Annotated[str, typer.Option("--action", help="Of an operation.")] = "read",
    number: Annotated[int, typer.Option("--bundle", help="Ask this bundle instead of the one in force.")] = 0,
    given: Annotated[
        list[str], typer.Option("--given", help="What is known of the record: contact.region=north; again for more.")
    ] = [],  # noqa: B006 - typer reads it, nobody changes it
    team: Annotated[bool, typer.Option("--team", help="A record of somebody in the person's departments.")] = False,
    at: Annotated[str, typer.Option("--at", help="When: 2026-12-31, or a time with its zone; now without it.")] = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Show a decision and the rows, with their lines and inheritances, that made it."""
    known, when = _facts(given), moment(at) if at else None
    if at and when is None:
        told = "{moment} is no day (2026-12-31) and no time with its zone (2026-12-31T18:00+08:00)."
        raise quit_with(UNUSABLE, say(told, moment=at))

    async def work(desk: At) -> None:
        try:
            under = Circumstances(known, team, when)
            found = await explained(desk.desk, desk.pool, who, what, action, number, under)
        except NothingToExplain as nothing:
            raise quit_with(PROBLEM if nothing.what == "bundle" else UNUSABLE, _nothing(nothing)) from None
        out.print(f"{who}: {', '.join(found.roles) or say('no role')}", markup=False)
        for one, told in found.answers:
            out.print(f"{one}: {say('yes' if told.allowed else 'no')}", markup=False)
            if not told.reasons:
                out.print(f"  {say('no row allows it')}", markup=False)
            for reason in told.reasons:
                out.print(f"  {say('line {line}: {text}', line=reason.line, text=reason.text)}", markup=False)
                if reason.links:
                    lines, through = ", ".join(map(str, reason.links)), " > ".join(reason.through)
                    out.print(f"    {say('by {through} (line {lines})', through=through, lines=lines)}", markup=False)

    _run(config, tenant, work)


@app.command("simulate")
def simulate(
    number: Number,
    days: Annotated[int, typer.Option("--days", min=1, max=365, help="How far back the trail is replayed.")] = 7,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Entries of the trail to read at most.")] = ENTRIES_LIMIT,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Replay the recorded work of the last days against a bundle: who would lose or gain what."""

    async def work(at: At) -> None:
        bundle = await _find(at, number)
        with part_of(say("replaying the last {days} days", days=days)) as tell:
            told = await replay(at.desk, at.pool, bundle, days, limit=limit, tell=tell)
        for line in lines_of(told):
            out.print(line, markup=False)

    _run(config, tenant, work)


def _nothing(fault: NothingToExplain) -> str:
    """What was named is not there, in words."""
    return say(fault.sentence, **fault.values)


def _facts(given: list[str]) -> dict[str, tuple[str, ...]]:
    found = facts_of(" ".join(given))
    if isinstance(found, str):
        raise quit_with(UNUSABLE, f"--given: {found}.")
    return found


async def _find(at: At, number: int) -> StoredBundle:
    found = await at.desk.store.find(at.tenant, number)
    if found is None:
        raise quit_with(PROBLEM, say("There is no bundle {number}.", number=number))
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise quit_with(UNUSABLE, say("{file} is not UTF-8.", file=file)) from None
    except OSError as fault:
        raise quit_with(UNUSABLE, say("{file} cannot be read: {fault}.", file=file, fault=fault.strerror)) from None


def _run(config: Path | None, tenant: str, work: Work) -> None:
    with installed(config, tenant) as at:
        try:
            asyncio.run(_with_desk(at.settings, at.tenant, at.dsn, work))
        except Attempt as attempt:
            raise quit_with(PROBLEM, said(attempt)) from None
        except (BundleRefused, NotAllowed) as refused:
            raise quit_with(PROBLEM, say("Not done: {why}.", why=why(refused))) from None


async def _with_desk(settings: Settings, tenant: str, dsn: str, work: Work) -> None:
    async with AsyncExitStack() as stack:
        pool = await open_pool(dsn, max_size=4)
        stack.push_async_callback(pool.close)
        keyring = open_keyring(settings, pool)
        stack.push_async_callback(keyring.close)
        log = await stack.enter_async_context(AuditLog(dsn))
        profile = load_profile(settings.tenants[tenant].profile)
        desk = desk_of(settings, tenant, pool, sign_in_of(settings, pool, keyring), log, profile)
        await work(At(desk, pool, tenant))
