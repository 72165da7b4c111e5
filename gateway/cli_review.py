"""`crmgate review`: who has what since when, what nobody used, and rounds in which somebody confirms or removes it.

Who starts, decides, removes or closes identifies with login, password and a code of the authenticator app. Looking
needs no account: whoever can read the settings can read the database.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from gateway.access.sign_in import Attempt
from gateway.accounts import Accounts, open_accounts
from gateway.bundles.desk import BundleRefused
from gateway.bundles.replaying import ENTRIES_LIMIT
from gateway.cli_destroy import Login, credentials, said
from gateway.cli_installed import installed
from gateway.cli_policy_show import part_of
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
)
from gateway.cli_words import say, speak, why
from gateway.key_step import NotAllowed
from gateway.policy_desks import desk_of
from gateway.reviews.desk import DAYS, ReviewDesk, ReviewRefused, sums
from gateway.reviews.listing import csv_of
from gateway.reviews.round import Decided, Finding, Found, Item, Sort
from gateway.reviews.store import ReviewStore
from gateway.settings import Settings
from policies.profile import load_profile

app = typer.Typer(help="Reviews of access: who has what, what nobody used, rounds over it.", no_args_is_help=True)
app.callback()(speak)

Number = Annotated[int, typer.Argument(help="Number of the round; `rounds` shows them.")]
DaysOption = Annotated[int, typer.Option("--days", min=1, max=3650, help="How far back use is looked for.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Entries of the trail to read at most.")]
CsvOption = Annotated[Path | None, typer.Option("--csv", help="Write CSV to this new file instead.")]

Work = Callable[[ReviewDesk], Awaitable[None]]


@app.command("list")
def list_all(
    days: DaysOption = DAYS,
    limit: LimitOption = ENTRIES_LIMIT,
    unused: Annotated[bool, typer.Option("--unused", help="Only what was not used.")] = False,
    file: CsvOption = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Show who has what since when, when it was last of use, and rows of the policy that nobody used."""

    async def work(desk: ReviewDesk) -> None:
        found = await _look(desk, days, limit)
        findings = [one for one in found.findings if one.unused or not unused]
        if file is not None:
            _write(file, csv_of(findings))
            return
        for one in findings:
            out.print(_line(one, days), markup=False)
        if not found.whole:
            out.print(say("Not all of the period was read: `unused` may be wrong. Try --limit."))

    _run(config, tenant, work)


@app.command("rounds")
def rounds(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show the rounds, the newest first."""

    async def work(desk: ReviewDesk) -> None:
        for one in await desk.store.rounds(desk.tenant):
            begun = {"number": one.number, "login": one.started.login, "at": f"{one.started.at:%Y-%m-%d %H:%M}"}
            told = say("{number}  started by {login} {at}, open", **begun)
            if one.closed:
                closed = {"closer": one.closed.login, "closed": f"{one.closed.at:%Y-%m-%d %H:%M}"}
                told = say("{number}  started by {login} {at}, closed by {closer} {closed}", **begun, **closed)
            out.print(told, markup=False)

    _run(config, tenant, work)


@app.command("start")
def start(
    login: Login,
    days: DaysOption = DAYS,
    limit: LimitOption = ENTRIES_LIMIT,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Open a round about what is found now."""
    given = credentials(login)

    async def work(desk: ReviewDesk) -> None:
        number = await desk.start(given, await _look(desk, days, limit))
        told = say("Round {number} is open. Look at it with: crmgate review show {number}", number=number)
        out.print(told, markup=False)

    _run(config, tenant, work)


@app.command("show")
def show(number: Number, file: CsvOption = None, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show the items of a round and what was decided; of a closed one that is the report."""

    async def work(desk: ReviewDesk) -> None:
        found = await desk.store.find(desk.tenant, number)
        if found is None:
            raise quit_with(PROBLEM, say("There is no round {number}.", number=number))
        items = await desk.store.items(desk.tenant, number)
        if file is not None:
            _write(file, csv_of([one.finding for one in items], items))
            return
        for one in items:
            out.print(f"{one.number}  {_line(one.finding, found.days)}{_decided(one)}", markup=False)
        counts = sums(items)
        told = "kept {keep}, to be removed {remove} ({done} done), not decided {undecided}"
        out.print(say(told, **counts))
        if found.bundle:
            told = say("Draft without the rows: crmgate policy diff {number}", number=found.bundle)
            out.print(told, markup=False)

    _run(config, tenant, work)


@app.command("decide")
def decide(
    number: Number,
    login: Login,
    keep: Annotated[list[int] | None, typer.Option("--keep", help="Number of an item; several times.")] = None,
    remove: Annotated[list[int] | None, typer.Option("--remove", help="Number of an item; several times.")] = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Confirm items of a round, or say that they are to be removed."""
    both = set(keep or ()) & set(remove or ())
    if both or not (keep or remove):
        raise quit_with(UNUSABLE, say("Say --keep or --remove with numbers of items, and no item twice."))
    decisions = dict.fromkeys(keep or (), Decided.KEEP) | dict.fromkeys(remove or (), Decided.REMOVE)
    given = credentials(login)

    async def work(desk: ReviewDesk) -> None:
        out.print(say("{count} decisions kept.", count=await desk.decide(given, number, decisions)))

    _run(config, tenant, work)


@app.command("remove")
def remove_all(number: Number, login: Login, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Take the roles that are to be removed, and draft a bundle without the rows that are."""
    given = credentials(login)

    async def work(desk: ReviewDesk) -> None:
        done = await desk.remove(given, number)
        out.print(say("{count} roles taken; {left} removals are left.", count=done.removed, left=done.left))
        if done.bundle is not None:
            told = say("Bundle {number} is a draft: crmgate policy diff {number}", number=done.bundle)
            out.print(told, markup=False)
            told = say("Then: crmgate policy propose {number}; somebody else publishes it.", number=done.bundle)
            out.print(told, markup=False)

    _run(config, tenant, work)


@app.command("close")
def close(number: Number, login: Login, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Close a round; what nobody decided stays undecided and its report says so."""
    given = credentials(login)

    async def work(desk: ReviewDesk) -> None:
        await desk.close(given, number)
        told = say("Round {number} is closed. Its report: crmgate review show {number} --csv FILE", number=number)
        out.print(told, markup=False)

    _run(config, tenant, work)


async def _look(desk: ReviewDesk, days: int, limit: int) -> Found:
    with part_of(say("reading the last {days} days", days=days)) as tell:
        return await desk.look(days, limit=limit, tell=tell)


def _line(one: Finding, days: int) -> str:
    if one.sort is Sort.ROW:
        told = "{row}: not used in {days} days by any of the {holders} who have it"
        return say(told, row=one.wording, days=days, holders=one.holders)
    since = "?" if one.since is None else f"{one.since:%Y-%m-%d}"
    since = since if one.exact or one.since is None else say("{at} or later", at=since)
    last = say("not used in {days} days", days=days)
    if one.last_used:
        last = say("last used {at}", at=f"{one.last_used:%Y-%m-%d %H:%M}")
    told = say("{login} {role}: since {since}, {last}", login=one.login, role=one.role, since=since, last=last)
    return told + (say(", UNUSED") if one.unused else "")


def _decided(item: Item) -> str:
    if item.decision is None or item.decided is None:
        return ""
    sentence = "keep by {login} {at}" if item.decision is Decided.KEEP else "remove by {login} {at}"
    told = say(sentence, login=item.decided.login, at=f"{item.decided.at:%Y-%m-%d %H:%M}")
    return f" [{told}{say(', done') if item.done_at else ''}]"


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8-sig", newline="") as made:
            made.write(text)
    except FileExistsError:
        raise quit_with(UNUSABLE, say("{file} is there already.", file=file)) from None
    except OSError as fault:
        raise quit_with(UNUSABLE, say("{file} cannot be written: {fault}.", file=file, fault=fault.strerror)) from None
    out.print(say("Written to {file}", file=file), markup=False)


def _run(config: Path | None, tenant: str, work: Work) -> None:
    with installed(config, tenant) as at:
        try:
            asyncio.run(_with_desk(at.settings, at.tenant, at.dsn, work))
        except Attempt as attempt:
            raise quit_with(PROBLEM, said(attempt)) from None
        except (ReviewRefused, BundleRefused, NotAllowed) as refused:
            raise quit_with(PROBLEM, say("Not done: {why}.", why=why(refused))) from None


async def _with_desk(settings: Settings, tenant: str, dsn: str, work: Work) -> None:
    async with open_accounts(settings, tenant, dsn) as accounts:
        await work(_desk(settings, accounts))


def _desk(settings: Settings, accounts: Accounts) -> ReviewDesk:
    profile = load_profile(settings.tenants[accounts.tenant].profile)
    policy = desk_of(settings, accounts.tenant, accounts.pool, accounts.sign_in, accounts.log, profile)
    return ReviewDesk(ReviewStore(accounts.pool), accounts.pool, accounts.users, policy)
