"""How `crmgate policy simulate` shows its progress and its result."""

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from gateway.bundles.replaying import Replay
from gateway.cli_shell import err
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
    yield f"{told.entries} entries since {told.reached:%Y-%m-%d %H:%M}"
    if not told.whole:
        yield "Not all of the period: more stands in the trail than was read or kept. Try --limit or fewer --days."
    if told.damaged:
        yield f"{told.damaged} entries could not be read. Look at the trail with: crmgate audit verify"
    found = told.found
    if found.gone or found.unknown:
        yield (
            f"left out: {found.gone} kinds of work by accounts that are closed, "
            f"{found.unknown} about what the profile does not describe"
        )
    for name, lines in (("would lose", found.losses), ("would gain", found.gains)):
        for line in lines:
            yield f"{'+'.join(line.roles) or 'no role'} {name} {_what(line)}"
            people = [f"{told.logins.get(one.person, one.person)} x{one.count}" for one in line.people[:PEOPLE_SHOWN]]
            more = len(line.people) - len(people)
            yield f"   {', '.join(people)}{f' and {more} more' if more else ''}; last {line.last:%Y-%m-%d %H:%M}"
    if not found.lines:
        yield "Nothing that was done would be different. What nobody did is not tried: look at `diff`, too."


def _what(line: Line) -> str:
    change = line.change
    where = "" if change.scope == "any" else f" of {change.scope} records"
    inside = f" ({change.kind} in it)" if change.kind else ""
    return f"{change.what} {change.right}{where}{inside}: {change.before} -> {change.after}"
