"""`crmgate keys rotate` and `crmgate keys rotation`: new keys, and everything under old ones sealed anew, online.

The work is durable: it goes on where it was after a kill, in this command, in another one or in the server.
"""

import asyncio
import getpass
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from gateway.cli_destroy import TokenOption
from gateway.cli_installed import installed
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    err,
    out,
    quit_with,
)
from gateway.database import open_pool
from gateway.job import Job, JobUnknown, State, Wanted
from gateway.job_store import JobStore
from gateway.opening import operated
from gateway.settings import Settings
from kms.rotation_store import NotRotatable

if TYPE_CHECKING:
    from gateway.rotation_desk import RotationDesk  # brings dbos along, which `crmgate --help` need not wait for

rotation_app = typer.Typer(help="Key rotations under way.", no_args_is_help=True)

Rate = Annotated[float | None, typer.Option("--rate", min=0.1, help="Values a second at most.")]
Jobs = Annotated[list[str] | None, typer.Argument(help="Names as `rotation status` shows them; all when left out.")]
_LASTING = {State.RUNNING, State.PAUSED, State.STOPPED}


def register(app: typer.Typer) -> None:
    """Put the commands under `crmgate keys`."""
    app.command("rotate")(rotate)
    app.add_typer(rotation_app, name="rotation")


def rotate(
    tenant: TenantOption = "",
    scope: Annotated[str, typer.Option(help="Only keys of this scope: email, phone, name…; needs --purpose.")] = "",
    purpose: Annotated[
        str, typer.Option(help="Only keys for this: seal, equal, prefix, suffix, part, token…; needs --scope.")
    ] = "",
    tenant_key: Annotated[
        bool, typer.Option("--tenant-key", help="The key that wraps the field keys, instead of them.")
    ] = False,
    close_old: Annotated[
        bool, typer.Option("--close-old", help="With --tenant-key: old versions open nothing any more in the end.")
    ] = False,
    rate: Rate = None,
    token_file: TokenOption = None,
    config: FileOption = None,
) -> None:
    """Make new field keys and bring everything stored under them; the CRM and its users notice nothing."""
    if bool(scope) != bool(purpose):
        raise quit_with(UNUSABLE, "--scope and --purpose belong together.")
    if tenant_key and scope:
        raise quit_with(UNUSABLE, "--tenant-key rotates the key above the field keys; leave --scope out.")
    if close_old and not tenant_key:
        raise quit_with(UNUSABLE, "--close-old belongs to --tenant-key.")

    async def work(settings: Settings, name: str, dsn: str) -> int:
        from gateway.composition_durable import open_jobs

        operator = operated(settings, name, token_file)
        async with open_jobs(operator, dsn, name, "command-line", getpass.getuser()) as desk:
            if tenant_key:
                begun = [await desk.begin_tenant_key(close=close_old)]
            else:
                begun = list(await desk.begin(scope, purpose, rate))
            if not begun:
                raise quit_with(PROBLEM, "Nothing was ever stored under a key of this CRM.")
            return await _follow(desk.durable.wait, begun)

    _run(config, tenant, work)
    if tenant_key:
        err.print(
            "If the keyring is a local file: copy it again to your two other places; old copies lack the new key."
        )


@rotation_app.command("status")
def status(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show every rotation with what is done, what is left and what stopped it."""

    async def work(settings: Settings, name: str, dsn: str) -> int:
        pool = await open_pool(dsn, max_size=2)
        try:
            # Names are what `pause` and `resume` take, so they are never cut.
            whole = Column("job", overflow="fold")
            table = Table(whole, "state", "done", "of", "%", "a second", "left", "problem", "old key", box=None)
            for job in await JobStore(pool).of_tenant(name, KINDS):
                table.add_row(*_row(job))
        finally:
            await pool.close()
        out.print(table)
        return 0

    _run(config, tenant, work)


@rotation_app.command("pause")
def pause(jobs: Jobs = None, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Hold rotations after the slice under way, in whichever process; both keys stay in use."""

    async def work(settings: Settings, name: str, dsn: str) -> int:
        from gateway.composition_durable import open_desk

        async with open_desk(settings, dsn, name, "command-line", getpass.getuser()) as desk:
            for job in await _meant(desk.jobs.of_tenant(name, KINDS), jobs, {State.RUNNING}):
                asked = await desk.ask(job, Wanted.PAUSE)
                out.print(f"{asked.id}: pausing", markup=False)
        return 0

    _run(config, tenant, work)


@rotation_app.command("resume")
def resume(
    jobs: Jobs = None,
    tenant: TenantOption = "",
    rate: Rate = None,
    token_file: TokenOption = None,
    config: FileOption = None,
) -> None:
    """Go on with rotations that are paused, stopped or were left by a process that died; shows progress."""

    async def work(settings: Settings, name: str, dsn: str) -> int:
        from gateway.composition_durable import open_jobs

        operator = operated(settings, name, token_file)
        async with open_jobs(operator, dsn, name, "command-line", getpass.getuser()) as desk:
            meant = await _meant(desk.jobs.of_tenant(name, KINDS), jobs, _LASTING)
            return await _follow(desk.durable.wait, [await _again(desk, job, rate) for job in meant])

    _run(config, tenant, work)


KINDS = ("rotate", "rewrap")


async def _again(desk: "RotationDesk", job: Job, rate: float | None) -> Job:
    try:
        return await desk.resume(job, rate)
    except JobUnknown:
        if job.state not in _LASTING:
            raise
        return job  # it came to its end just now


async def _meant(all_jobs: Awaitable[Sequence[Job]], names: Sequence[str] | None, states: set[State]) -> list[Job]:
    """The jobs named, or all in these states; raises JobUnknown."""
    known = {job.id: job for job in await all_jobs}
    for name in names or ():
        if name not in known:
            raise JobUnknown(name)
    return [known[name] for name in names] if names else [job for job in known.values() if job.state in states]


async def _follow(wait: Callable[..., Awaitable[Job]], begun: Sequence[Job]) -> int:
    """Bars until every job ended; 1 when one did not come to its end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    ended: list[Job] = []
    with Progress(*columns, console=err) as bars:
        tasks = {job.id: bars.add_task(_title(job), total=job.total or None, completed=job.done) for job in begun}

        def show(job: Job) -> None:
            bars.update(tasks[job.id], total=job.total or None, completed=job.done)

        ended = list(await asyncio.gather(*(wait(job.id, show) for job in begun)))
    for job in sorted(ended, key=_title):
        style = {State.DONE: "green", State.PAUSED: "yellow"}.get(job.state, "red")
        told = f", {old_key(job)}" if job.state is State.DONE and job.kind == KINDS[0] else ""
        out.print(f"{_title(job)}: {job.state}{_because(job)}{told}", style=style, markup=False)
    return 0 if all(job.state in (State.DONE, State.PAUSED) for job in ended) else PROBLEM


def _title(job: Job) -> str:
    if job.kind == KINDS[1]:
        return "tenant key"
    return f"{job.arguments.get('scope')} {job.arguments.get('purpose')}"


def _because(job: Job) -> str:
    return f", {job.problem}; see: crmgate keys rotation status" if job.problem else ""


def old_key(job: Job) -> str:
    """What became of the old key of a rotation that ended, and what is under it."""
    told = job.cursor if isinstance(job.cursor, dict) else {}
    end, left = str(told.get("end", "")), told.get("left", 0)
    if not end:
        return ""
    return _ENDS[end].format("what" if left == -1 else f"{left} known of what")


_ENDS = {
    "retired": "0 left under the old key",
    "verify": "the old key goes on confirming {} was made under it",
    "standing": "the old key stays live for {} stands in the CRM under it",
}


def _row(job: Job) -> list[str]:
    share = 100 if job.state is State.DONE else 100 * job.done // job.total if job.total else 0
    left = job.left_s if job.state is State.RUNNING else None
    return [
        job.id,
        str(job.state),
        str(job.done),
        str(job.total),
        f"{share} %",
        f"{job.speed:.0f}" if job.speed else "",
        f"{left:.0f} s" if left is not None else "",
        job.problem,
        old_key(job) if job.kind == KINDS[0] else "",
    ]


def _run(config: Path | None, tenant: str, work: Callable[[Settings, str, str], Awaitable[int]]) -> None:
    with installed(config, tenant) as at:
        dsn = at.dsn

        async def main() -> int:
            return await work(at.settings, at.tenant, dsn)

        try:
            code = asyncio.run(main())
        except NotRotatable as fault:
            raise quit_with(UNUSABLE, f"There is no key that could be rotated: {fault}.") from None
        except KeyboardInterrupt:
            err.print("Interrupted. The work goes on with: crmgate serve, or crmgate keys rotation resume")
            raise
    if code:
        raise typer.Exit(code)
