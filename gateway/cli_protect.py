"""`crmgate protect`: what a CRM holds already becomes surrogates, and the way back.

Exit codes: 0 done; 1 something did not fit, is clear again or is left, and the text says what; 2 cannot be used.
No command prints a value of a record.
"""

import asyncio
import contextlib
import getpass
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gateway.access.tokens import new_id
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    err,
    interactive,
    out,
    quit_with,
    settings_of,
    tenant_of,
    told_plainly,
)
from gateway.opening import open_database
from gateway.protect.credential import Credential, CredentialMissing
from gateway.protect.desk import Desk, NoWalk, open_desk
from gateway.protect.plan import Plan, make_plan
from gateway.protect.probe import FieldProof, probe
from gateway.protect.reading import CrmRefused, CrmSignInRefused, CrmUnreachable
from gateway.protect.run import protect_all, undo_all, verify_all
from gateway.protect.store import Run

app = typer.Typer(help="Protect what the CRM already holds, and the way back.", no_args_is_help=True)

RateOption = Annotated[float, typer.Option(help="Writes a second at most; 0 for no limit.", min=0)]
OPEN = ("gathering", "protecting")


@contextlib.contextmanager
def _plainly() -> Iterator[None]:
    """What the CRM may say becomes one sentence."""
    with told_plainly():
        try:
            yield
        except CredentialMissing as fault:
            raise quit_with(UNUSABLE, f"{fault}.") from None
        except NoWalk as fault:
            raise quit_with(UNUSABLE, f"{fault}.") from None
        except (CrmSignInRefused, CrmRefused) as fault:
            raise quit_with(PROBLEM, f"{fault}.") from None
        except CrmUnreachable as fault:
            raise quit_with(PROBLEM, f"{fault}. Run the command again to go on where it stopped.") from None


def _at(config: Path | None, tenant: str, do: Callable[[Desk], Awaitable[int]]) -> None:
    """Open everything, do one thing, close, end with its code."""
    with _plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        database = open_database(settings)

        async def work() -> int:
            async with open_desk(settings, name, database.dsn) as desk:
                return await do(desk)

        try:
            code = asyncio.run(work())
        finally:
            database.close()
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
def plan(rate: RateOption = 10, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Dry run: what would be protected, what would not fit and why, how long it would take. Writes nothing."""

    async def look(desk: Desk) -> int:
        driver = await desk.driver(desk.walk)
        try:
            with _bar("reading", None) as step:
                made = await make_plan(
                    desk.walk, driver, desk.changer, desk.trail, rate, time.monotonic, lambda _: step(1)
                )
        finally:
            await driver.close()
        _show_plan(made)
        return 0

    _at(config, tenant, look)


@app.command()
def run(rate: RateOption = 10, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Protect everything; goes on where a run that was stopped or killed left off."""

    async def protect(desk: Desk) -> int:
        runs = await desk.store.runs(desk.tenant)
        open_run = next((one for one in runs if one.state in (*OPEN, "undoing")), None)
        if open_run is not None and open_run.state == "undoing":
            raise quit_with(PROBLEM, f"The run {open_run.id} is being undone; finish that first: crmgate protect undo")
        name = open_run.id if open_run is not None else new_id("p", secrets.token_bytes)
        if open_run is None:
            await desk.store.begin(desk.tenant, name, "interface", rate)
        driver = await desk.driver(desk.walk)
        try:
            with _bar("protecting", None) as step:
                await protect_all(desk.work(desk.walk, driver, rate), name, lambda what, more: step(more))
        finally:
            await driver.close()
        return await _show_run(desk, name)

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
            out.print(_line(one), markup=False)
            code = max(code, await _show_run(desk, one.id))
        return code if any(one.state in OPEN for one in runs) else 0

    _at(config, tenant, show)


@app.command()
def verify(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Read every protected record again and compare it with what was stored."""

    async def check(desk: Desk) -> int:
        runs = [one.id for one in await desk.store.runs(desk.tenant) if one.state == "done"]
        if not runs:
            raise quit_with(PROBLEM, "There is no finished run to verify.")
        driver = await desk.driver(desk.walk)
        try:
            found = await verify_all(desk.work(desk.walk, driver, 0), runs)
        finally:
            await driver.close()
        out.print(f"{found.held} fields as they were stored, {found.changed} changed since and protected.")
        if found.missing:
            out.print(f"{found.missing} fields belong to records that are gone.")
        if found.clear:
            out.print(f"{found.clear} fields hold clear values:", style="red")
            for place, number in sorted(found.places.items()):
                out.print(f"  {place}: {number}", markup=False)
        if found.unknown:
            out.print(f"{found.unknown} records are in no run; protect them with: crmgate protect run", style="red")
        return PROBLEM if found.clear or found.unknown else 0

    _at(config, tenant, check)


@app.command()
def undo(rate: RateOption = 10, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Put every value back, byte for byte, and prove it."""

    async def back(desk: Desk) -> int:
        runs = [one for one in await desk.store.runs(desk.tenant) if one.state != "undone"]
        if not runs:
            raise quit_with(PROBLEM, "There is no run to undo.")
        code = 0
        for one in runs:
            driver = await desk.driver(desk.walk)
            try:
                with _bar("restoring", None) as step:
                    left = await undo_all(desk.work(desk.walk, driver, rate), one.id, lambda what, more: step(more))
            finally:
                await driver.close()
            code = max(code, await _show_run(desk, one.id), PROBLEM if left else 0)
            out.print(f"{left} surrogates of this run left", style="red" if left else "green")
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
        _show_proofs(proofs)
        return 0 if all(one.holds for one in proofs) else PROBLEM

    _at(config, tenant, prove)


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; it counts records."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)


def _line(one: Run) -> str:
    ended = f", ended {one.ended_at:%Y-%m-%d %H:%M}" if one.ended_at else ""
    return f"run {one.id} ({one.way}): {one.state}, started {one.started_at:%Y-%m-%d %H:%M}{ended}"


async def _show_run(desk: Desk, run: str) -> int:
    """Counts of a run; 1 when something did not fit or is not done."""
    counts = await desk.store.counts(desk.tenant, run)
    table = Table("entity", "state", "records", box=None)
    for entity, states in counts.items():
        for state, number in states.items():
            table.add_row(entity, state, str(number))
    out.print(table)
    fields, surrogates, _ = await desk.store.changed(desk.tenant, run)
    out.print(f"{fields} fields, {surrogates} surrogates")
    misfits = await desk.store.misfits(desk.tenant, run)
    for entity, name, why, number in misfits:
        out.print(f"did not fit: {entity} {name}: {why} ({number})", style="yellow", markup=False)
    return PROBLEM if misfits else 0


def _show_plan(made: Plan) -> None:
    for entity, number in made.records.items():
        left = f", {made.skipped[entity]} of them left alone" if made.skipped[entity] else ""
        out.print(f"{entity}: {number} records{left}", markup=False)
    table = Table("field", "clear", "protected", "empty", "nothing", "unfit", "why", box=None)
    for (entity, name), counted in sorted(made.fields.items()):
        why = [f"{reason} {number}" for reason, number in sorted(counted.unfit.items())]
        if counted.edges:
            why.append(f"white space around it is dropped by the CRM's form {counted.edges}")
        states = [str(counted.states[state]) for state in ("clear", "protected", "empty", "nothing", "unfit")]
        table.add_row(f"{entity}.{name}", *states, ", ".join(why))
    out.print(table)
    out.print(
        f"{made.writes} records to write; about {made.seconds / 60:.1f} minutes ({made.read_s * 1000:.0f} ms a read)"
    )


def _show_proofs(proofs: list[FieldProof]) -> None:
    for one in proofs:
        word, style = ("holds", "green") if one.holds else ("DOES NOT HOLD", "red")
        out.print(f"{one.entity}.{one.name} ({one.kind}): {word}", style=style, markup=False)
        for form, what in one.problems.items():
            out.print(f"  {form}: {what}", markup=False)
        for limit in one.limits:
            out.print(f"  {limit}", style="dim", markup=False)
