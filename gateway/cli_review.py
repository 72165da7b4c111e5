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
from gateway.key_step import NotAllowed
from gateway.policy_desks import desk_of
from gateway.reviews.desk import DAYS, ReviewDesk, ReviewRefused, sums
from gateway.reviews.listing import csv_of
from gateway.reviews.round import Decided, Finding, Found, Item, Sort
from gateway.reviews.store import ReviewStore
from gateway.settings import Settings
from policies.profile import load_profile

app = typer.Typer(help="Reviews of access: who has what, what nobody used, rounds over it.", no_args_is_help=True)

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
            out.print("Not all of the period was read: `unused` may be wrong. Try --limit.")

    _run(config, tenant, work)


@app.command("rounds")
def rounds(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show the rounds, the newest first."""

    async def work(desk: ReviewDesk) -> None:
        for one in await desk.store.rounds(desk.tenant):
            ended = f", closed by {one.closed.login} {one.closed.at:%Y-%m-%d %H:%M}" if one.closed else ", open"
            out.print(
                f"{one.number}  started by {one.started.login} {one.started.at:%Y-%m-%d %H:%M}{ended}", markup=False
            )

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
        out.print(f"Round {number} is open. Look at it with: crmgate review show {number}", markup=False)

    _run(config, tenant, work)


@app.command("show")
def show(number: Number, file: CsvOption = None, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show the items of a round and what was decided; of a closed one that is the report."""

    async def work(desk: ReviewDesk) -> None:
        found = await desk.store.find(desk.tenant, number)
        if found is None:
            raise quit_with(PROBLEM, f"There is no round {number}.")
        items = await desk.store.items(desk.tenant, number)
        if file is not None:
            _write(file, csv_of([one.finding for one in items], items))
            return
        for one in items:
            out.print(f"{one.number}  {_line(one.finding, found.days)}{_decided(one)}", markup=False)
        counts = sums(items)
        out.print(
            f"kept {counts['keep']}, to be removed {counts['remove']} ({counts['done']} done), "
            f"not decided {counts['undecided']}"
        )
        if found.bundle:
            out.print(f"Draft without the rows: crmgate policy diff {found.bundle}", markup=False)

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
        raise quit_with(UNUSABLE, "Say --keep or --remove with numbers of items, and no item twice.")
    decisions = dict.fromkeys(keep or (), Decided.KEEP) | dict.fromkeys(remove or (), Decided.REMOVE)
    given = credentials(login)

    async def work(desk: ReviewDesk) -> None:
        out.print(f"{await desk.decide(given, number, decisions)} decisions kept.")

    _run(config, tenant, work)


@app.command("remove")
def remove_all(number: Number, login: Login, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Take the roles that are to be removed, and draft a bundle without the rows that are."""
    given = credentials(login)

    async def work(desk: ReviewDesk) -> None:
        done = await desk.remove(given, number)
        out.print(f"{done.removed} roles taken; {done.left} removals are left.")
        if done.bundle is not None:
            out.print(f"Bundle {done.bundle} is a draft: crmgate policy diff {done.bundle}", markup=False)
            out.print(f"Then: crmgate policy propose {done.bundle}; somebody else publishes it.", markup=False)

    _run(config, tenant, work)


@app.command("close")
def close(number: Number, login: Login, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Close a round; what nobody decided stays undecided and its report says so."""
    given = credentials(login)

    async def work(desk: ReviewDesk) -> None:
        await desk.close(given, number)
        out.print(f"Round {number} is closed. Its report: crmgate review show {number} --csv FILE", markup=False)

    _run(config, tenant, work)


async def _look(desk: ReviewDesk, days: int, limit: int) -> Found:
    with part_of(f"reading the last {days} days") as tell:
        return await desk.look(days, limit=limit, tell=tell)


def _line(one: Finding, days: int) -> str:
    if one.sort is Sort.ROW:
        return f"{one.wording}: not used in {days} days by any of the {one.holders} who have it"
    since = "?" if one.since is None else f"{one.since:%Y-%m-%d}{'' if one.exact else ' or later'}"
    last = f"last used {one.last_used:%Y-%m-%d %H:%M}" if one.last_used else f"not used in {days} days"
    return f"{one.login} {one.role}: since {since}, {last}{', UNUSED' if one.unused else ''}"


def _decided(item: Item) -> str:
    if item.decision is None or item.decided is None:
        return ""
    done = ", done" if item.done_at else ""
    return f" [{item.decision} by {item.decided.login} {item.decided.at:%Y-%m-%d %H:%M}{done}]"


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8-sig", newline="") as made:
            made.write(text)
    except FileExistsError:
        raise quit_with(UNUSABLE, f"{file} is there already.") from None
    except OSError as fault:
        raise quit_with(UNUSABLE, f"{file} cannot be written: {fault.strerror}.") from None
    out.print(f"Written to {file}", markup=False)


def _run(config: Path | None, tenant: str, work: Work) -> None:
    with installed(config, tenant) as at:
        try:
            asyncio.run(_with_desk(at.settings, at.tenant, at.dsn, work))
        except Attempt as attempt:
            raise quit_with(PROBLEM, said(attempt)) from None
        except (ReviewRefused, BundleRefused, NotAllowed) as refused:
            raise quit_with(PROBLEM, f"Not done: {refused}.") from None


async def _with_desk(settings: Settings, tenant: str, dsn: str, work: Work) -> None:
    async with open_accounts(settings, tenant, dsn) as accounts:
        await work(_desk(settings, accounts))


def _desk(settings: Settings, accounts: Accounts) -> ReviewDesk:
    profile = load_profile(settings.tenants[accounts.tenant].profile)
    policy = desk_of(settings, accounts.tenant, accounts.pool, accounts.sign_in, accounts.log, profile)
    return ReviewDesk(ReviewStore(accounts.pool), accounts.pool, accounts.users, policy)
