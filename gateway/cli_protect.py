"""`crmgate protect`: what a CRM holds already becomes surrogates, and the way back.

Exit codes: 0 done; 1 something did not fit, is clear again or is left, and the text says what; 2 cannot be used.
No command prints a value of a record.
"""

import asyncio
import contextlib
import getpass
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from gateway.access.tokens import new_id
from gateway.cli_installed import installed
from gateway.cli_protect_show import bar, counting, line, show_history, show_plan, show_proofs, show_run, show_state
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    interactive,
    out,
    quit_with,
)
from gateway.job import State
from gateway.protect.credential import Credential, CredentialMissing
from gateway.protect.desk import Desk, NoWalk, open_desk
from gateway.protect.direct import CrmStillUp, Direct, require_off
from gateway.protect.migrated import EVERY_S, parts_of, parts_reached
from gateway.protect.plan import make_plan
from gateway.protect.probe import probe
from gateway.protect.reading import CrmDriver, CrmRefused, CrmSignInRefused, CrmUnreachable
from gateway.protect.run import kind_of, verify_all
from gateway.protect.table_map import MapInvalid
from policies.walk import Walk

app = typer.Typer(help="Protect what the CRM already holds, and the way back.", no_args_is_help=True)

RateOption = Annotated[float, typer.Option(help="Writes a second at most; 0 for no limit.", min=0)]
AtOnceOption = Annotated[
    int,
    typer.Option(help="Records that are read and written at the same time through the CRM's interface.", min=1, max=32),
]
AT_ONCE = 4
DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        help="Walk the CRM's own database instead (SQLite, PostgreSQL), the CRM switched off: an SQLAlchemy address,"
        " or @FILE that holds it.",
    ),
]
MapOption = Annotated[Path | None, typer.Option("--map", help="Which tables and columns (with --database).")]
OPEN = ("gathering", "protecting")


@dataclass(frozen=True, slots=True)
class Way:
    """How the records are reached."""

    name: str
    walk: Walk
    driver: CrmDriver


@contextlib.asynccontextmanager
async def _way(
    desk: Desk, database: str, map_file: Path | None, at_once: int, *, reading: bool = False
) -> AsyncIterator[Way]:
    """The CRM's own interface, or its database; closed afterwards. reading: the CRM need not be switched off."""
    if bool(database) != (map_file is not None):
        raise quit_with(UNUSABLE, "--database and --map go together.")
    if map_file is not None:
        walk, direct = desk.direct(database, map_file, reading=reading)
        if not reading:
            await require_off(desk.settings.upstream)
        way = Way("database", walk, direct)
    else:
        way = Way("interface", desk.walk, await desk.driver(desk.walk, at_once))
    try:
        yield way
    finally:
        await way.driver.close()


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """What the CRM may say becomes one sentence."""
    try:
        yield
    except (CredentialMissing, NoWalk, MapInvalid) as fault:
        raise quit_with(UNUSABLE, f"{fault}.") from None
    except (CrmSignInRefused, CrmRefused, CrmStillUp) as fault:
        raise quit_with(PROBLEM, f"{fault}.") from None
    except CrmUnreachable as fault:
        raise quit_with(PROBLEM, f"{fault}. Run the command again to go on where it stopped.") from None


def _at(config: Path | None, tenant: str, do: Callable[[Desk], Awaitable[int]]) -> None:
    """Open everything, do one thing, close, end with its code."""
    with installed(config, tenant) as at, _plainly():

        async def work(dsn: str) -> int:
            async with open_desk(at.settings, at.tenant, dsn) as desk:
                return await do(desk)

        code = asyncio.run(work(at.dsn))
    if code:
        raise typer.Exit(code)


@app.command()
def credential(
    login: Annotated[str, typer.Option(help="The service account in the CRM.")],
    password_file: Annotated[
        Path | None, typer.Option(help="Read the password from this file; else it is asked.")
    ] = None,
    db: Annotated[str, typer.Option(help="Name of the CRM's database, where its addresses hold one (Tryton).")] = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Store the CRM service credential, sealed; every use of it is in the audit trail."""
    if password_file is not None:
        try:
            password = password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as fault:
            raise quit_with(UNUSABLE, f"cannot read {password_file}: {fault.strerror}") from None
    elif interactive():
        password = getpass.getpass(f"CRM password of {login}: ")
    else:
        raise quit_with(UNUSABLE, "Nobody is at the terminal: give the password with --password-file.")
    if not password:
        raise quit_with(UNUSABLE, "The password is empty; nothing was stored.")

    async def keep(desk: Desk) -> int:
        if desk.walk.asks and not db:
            raise quit_with(UNUSABLE, "This CRM has the name of its database in its addresses: give it with --db.")
        await desk.keep_credential(Credential(login, password, {"db": db} if db else {}))
        return 0

    _at(config, tenant, keep)
    out.print("The credential is stored, sealed under the keys of this CRM.")


@app.command()
def plan(
    rate: RateOption = 10,
    at_once: AtOnceOption = AT_ONCE,
    database: DatabaseOption = "",
    map_file: MapOption = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Dry run: what would be protected, what would not fit and why, how long it would take. Writes nothing."""

    async def look(desk: Desk) -> int:
        async with _way(desk, database, map_file, at_once, reading=True) as way:
            with counting("reading") as seen:
                made = await make_plan(way.walk, way.driver, desk.changer, desk.trail, rate, time.monotonic, seen)
        show_plan(made)
        if way.name == "interface":
            show_history(desk.profile, made.writes)
        return 0

    _at(config, tenant, look)


@app.command()
def run(
    rate: RateOption = 10,
    at_once: AtOnceOption = AT_ONCE,
    database: DatabaseOption = "",
    map_file: MapOption = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Protect everything; goes on where a run that was stopped or killed left off."""

    async def protect(desk: Desk) -> int:
        runs = await desk.store.runs(desk.tenant)
        open_run = next((one for one in runs if one.state in (*OPEN, "undoing")), None)
        if open_run is not None and open_run.state == "undoing":
            raise quit_with(PROBLEM, f"The run {open_run.id} is being undone; finish that first: crmgate protect undo")
        async with _way(desk, database, map_file, at_once) as way:
            if open_run is not None and open_run.way != way.name:
                raise quit_with(PROBLEM, f"The run {open_run.id} over the {open_run.way} is open; finish that first.")
            name = open_run.id if open_run is not None else new_id("p", secrets.token_bytes)
            if open_run is None:
                await desk.store.begin(desk.tenant, name, way.name, rate)
            await _carry_out(desk, way, name, {"run": name}, rate, "protecting")
            if isinstance(way.driver, Direct):
                await way.driver.compact()
        return await show_run(desk, name)

    _at(config, tenant, protect)


@app.command()
def status(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show every run: how far it is and what did not fit."""

    async def show(desk: Desk) -> int:
        runs = await desk.store.runs(desk.tenant)
        if not runs:
            out.print("Nothing was protected yet. Look first: crmgate protect plan")
        code = 0
        for one in reversed(runs):
            out.print(line(one), markup=False)
            code = max(code, await show_run(desk, one.id))
        await show_state(desk)
        return code if any(one.state in OPEN for one in runs) else 0

    _at(config, tenant, show)


@app.command()
def verify(
    at_once: AtOnceOption = AT_ONCE,
    database: DatabaseOption = "",
    map_file: MapOption = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Read every protected record again and compare it with what was stored."""

    async def check(desk: Desk) -> int:
        async with _way(desk, database, map_file, at_once) as way:
            known = await desk.store.runs(desk.tenant)
            runs = [one.id for one in known if one.state == "done" and one.way == way.name]
            if not runs:
                raise quit_with(PROBLEM, f"There is no finished run over the {way.name} to verify.")
            found = await verify_all(desk.work(way.walk, way.driver, 0), runs)
        out.print(f"{found.held} fields as they were stored, {found.changed} changed since and protected.")
        if found.missing:
            out.print(f"{found.missing} fields belong to records that are gone.")
        if found.clear:
            out.print(f"{found.clear} fields hold clear values:", style="red")
            for place, number in sorted(found.places.items()):
                out.print(f"  {place}: {number}", markup=False)
        if found.unknown:
            out.print(f"{found.unknown} records are in no run; protect them with: crmgate protect run", style="red")
        if found.left:
            out.print(f"{found.left} fields stay clear because they did not fit.", style="red")
        tables = way.driver.tables if isinstance(way.driver, Direct) else None
        parts = parts_reached(desk.profile, way.walk, tables)
        if found.clear or found.unknown or found.left:
            await desk.unprove(parts)
            return PROBLEM
        await desk.prove(parts, runs, found.held + found.changed)
        await show_state(desk)
        return 0

    _at(config, tenant, check)


@app.command()
def undo(
    rate: RateOption = 10,
    at_once: AtOnceOption = AT_ONCE,
    database: DatabaseOption = "",
    map_file: MapOption = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Put every value back, byte for byte, and prove it."""

    async def back(desk: Desk) -> int:
        code = 0
        async with _way(desk, database, map_file, at_once) as way:
            known = await desk.store.runs(desk.tenant)
            runs = [one.id for one in known if one.state != "undone" and one.way == way.name]
            if not runs:
                raise quit_with(PROBLEM, f"There is no run over the {way.name} to undo.")
            if await desk.unprove(parts_of(desk.profile)):
                await asyncio.sleep(2 * EVERY_S)  # every serving process knows before anything is clear again
            for name in runs:
                await desk.cancel(name)
                job = await _undo_job(desk, name)
                await _carry_out(desk, way, job, {"run": name, "undo": True}, rate, "restoring")
                code = max(code, await show_run(desk, name))
                left = await _left(desk, name)
                out.print(f"{left} surrogates of this run left", style="red" if left else "green")
                code = PROBLEM if left else code
        return code

    _at(config, tenant, back)


@app.command("probe")
def probe_forms(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Prove on a scratch record that each field keeps what protecting writes there; report the limits found."""

    async def prove(desk: Desk) -> int:
        driver = await desk.driver(desk.walk)
        try:
            proofs = await probe(desk.walk, driver, desk.trail)
        finally:
            await driver.close()
        show_proofs(proofs)
        return 0 if all(one.holds for one in proofs) else PROBLEM

    _at(config, tenant, prove)


async def _carry_out(desk: Desk, way: Way, name: str, arguments: dict[str, str | bool], rate: float, what: str) -> None:
    """Do a job to its end, or go on with it; ends the command when it stopped."""
    with bar(what) as show:
        async with desk.jobs(way.name, way.walk, way.driver, rate) as durable:
            job = await durable.begin(name, kind_of(desk.tenant, way.name), desk.tenant, dict(arguments))
            if job.state in (State.PAUSED, State.STOPPED):
                await durable.resume(name)
            job = await durable.wait(name, show)
    if job.state is not State.DONE:
        raise quit_with(PROBLEM, f"Stopped ({job.problem or job.state.value}); the same command goes on from here.")


async def _left(desk: Desk, run: str) -> int:
    """Surrogates of a run that the CRM was seen to hold after its undo."""
    found = await desk.store.misfits(desk.tenant, run)
    return sum(int(why.partition(":")[2]) * number for _, _, why, number in found if why.startswith("undo-left:"))


async def _undo_job(desk: Desk, run: str) -> str:
    """The id of the undo that is under way, or a fresh one: an undo may be done again."""
    for number in range(1, 1000):
        job = await desk.job(f"{run}-undo-{number}")
        if job is None or job.state not in (State.DONE, State.CANCELLED):
            return f"{run}-undo-{number}"
    raise quit_with(PROBLEM, "This run was undone too often.")
