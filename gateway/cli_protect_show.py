"""What the `crmgate protect` commands print: counts and words, never a value."""

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from gateway.cli_shell import PROBLEM, err, out
from gateway.job import Job
from gateway.protect.desk import Desk
from gateway.protect.migrated import HISTORY, complete, parts_of
from gateway.protect.plan import Plan
from gateway.protect.probe import FieldProof
from gateway.protect.store import Run
from policies.profile import Profile


async def show_state(desk: Desk) -> None:
    """What was proved to hold nothing in clear, and what is still to prove."""
    proofs = (await desk.store.proofs()).get(desk.tenant, [])
    for one in proofs:
        told = f"{one.part}: nothing in clear, proved {one.at:%Y-%m-%d %H:%M} by {one.by} ({one.held} fields)"
        out.print(told, style="green", markup=False)
    if complete(parts_of(desk.profile), proofs):
        out.print("This CRM counts as migrated: searches and masks no longer look for clear values.")
    for part in sorted(parts_of(desk.profile) - {one.part for one in proofs}):
        out.print(f"{part}: not proved yet", markup=False)
    if HISTORY not in {one.part for one in proofs}:
        show_history(desk.profile)


def show_history(profile: Profile, writes: int = 0) -> None:
    """What a CRM keeps of every edit, how many lines a run would add, and how to clean them."""
    if profile.walk is None or profile.walk.history is None:
        return
    history = profile.walk.history
    out.print(
        f"{profile.title} keeps the old value of every edit in its table {history.table};"
        " its interface cannot change that.",
        markup=False,
    )
    if writes:
        out.print(f"This run would add {writes} lines with clear values to those that are there. Count these with:")
        out.print(f"  crmgate protect plan --database ADDRESS --map {history.map}", markup=False)
    out.print("With the CRM switched off, clean it and prove it with:")
    for word in ("run", "verify"):
        out.print(f"  crmgate protect {word} --database ADDRESS --map {history.map}", markup=False)


@contextlib.contextmanager
def bar(what: str) -> Iterator[Callable[[Job], None]]:
    """A progress bar on standard error: records, and what the CRM or the keys make it wait for."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def show(job: Job) -> None:
            waiting = f" (waiting: {job.problem})" if job.problem else ""
            progress.update(task, completed=job.done, total=job.total or None, description=what + waiting)

        yield show


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """A count on standard error, where nobody knows how much there is."""
    with Progress(TextColumn("{task.description}"), MofNCompleteColumn(), console=err, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done: progress.update(task, completed=done)


def line(one: Run) -> str:
    ended = f", ended {one.ended_at:%Y-%m-%d %H:%M}" if one.ended_at else ""
    return f"run {one.id} ({one.way}): {one.state}, started {one.started_at:%Y-%m-%d %H:%M}{ended}"


async def show_run(desk: Desk, run: str) -> int:
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


def show_plan(made: Plan) -> None:
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


def show_proofs(proofs: list[FieldProof]) -> None:
    for one in proofs:
        word, style = ("holds", "green") if one.holds else ("DOES NOT HOLD", "red")
        out.print(f"{one.entity}.{one.name} ({one.kind}): {word}", style=style, markup=False)
        for form, what in one.problems.items():
            out.print(f"  {form}: {what}", markup=False)
        for limit in one.limits:
            out.print(f"  {limit}", style="dim", markup=False)
