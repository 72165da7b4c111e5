"""How `crmgate policy simulate` shows its progress and its result."""

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from gateway.bundles.replaying import Replay
from gateway.cli_shell import err
from gateway.cli_words import say
from policies.simulation import Line

PEOPLE_SHOWN = 20


@contextlib.contextmanager
def part_of(what: str) -> Iterator[Callable[[float], None]]:
    """A progress bar on standard error, of a part from 0 to 1."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda part: progress.update(task, completed=part)


def lines_of(told: Replay) -> Iterator[str]:
    """The result, losses first; people by login."""
    yield say("{count} entries since {at}", count=told.entries, at=f"{told.reached:%Y-%m-%d %H:%M}")
    if not told.whole:
        yield say("Not all of the period: more stands in the trail than was read or kept. Try --limit or fewer --days.")
    if told.damaged:
        yield say("{count} entries could not be read. Look at the trail with: crmgate audit verify", count=told.damaged)
    found = told.found
    if found.gone or found.unknown:
        yield say(
            "left out: {gone} kinds of work by closed accounts, {unknown} about what the profile does not describe",
            gone=found.gone,
            unknown=found.unknown,
        )
    for name, lines in ((say("would lose"), found.losses), (say("would gain"), found.gains)):
        for line in lines:
            yield f"{'+'.join(line.roles) or say('no role')} {name} {_what(line)}"
            shown = [f"{told.logins.get(one.person, one.person)} x{one.count}" for one in line.people[:PEOPLE_SHOWN]]
            people, more = ", ".join(shown), len(line.people) - len(shown)
            people = say("{people} and {more} more", people=people, more=more) if more else people
            yield f"   {say('{people}; last {at}', people=people, at=f'{line.last:%Y-%m-%d %H:%M}')}"
    if not found.lines:
        yield say("Nothing that was done would be different. What nobody did is not tried: look at `diff`, too.")


def _what(line: Line) -> str:
    change = line.change
    where = "" if change.scope == "any" else say(" of {scope} records", scope=change.scope)
    inside = say(" ({kind} in it)", kind=change.kind) if change.kind else ""
    return f"{change.what} {change.right}{where}{inside}: {change.before} -> {change.after}"
