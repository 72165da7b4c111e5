"""`make oracle`: two copies of a CRM that differ in one person's values only; a salesperson may not tell them apart.

The same staff and people are in both, entered through a gateway each; of one person, a customer of somebody else, every
protected value differs. The salesperson then filters, sorts, groups, exports, includes and renames by the fields they
may not see, with the values themselves, their parts, neighbours and patterns. Every answer has to be alike, byte for
byte, but for what differs between any two runs: tokens against forged forms, clock times, addresses of the gateways,
and the surrogates, which are keyed per gateway and stand for nothing. Rows of JSON are compared in their order, lines
of pages as a set with counts, because Creme lists people in the order of names, which are random surrogates.

With `--story clear` the people are in both CRMs before any gateway was: nothing is protected yet.
"""

import argparse
import contextlib
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from gateway.demo.browser import Answer, Browser, BrowserFault
from gateway.demo.driver import Driver
from gateway.demo.people import Person, make_people
from tests.drills import oracle_bottle, oracle_creme, oracle_djangocrm, oracle_dynamics, oracle_tryton
from tests.drills.oracle_probe import Hidden, Probe
from tests.drills.stack import MEMBERS, Stack, installed
from tests.real.servers import SERVERS

PROBES: dict[str, Callable[[Hidden], Sequence[Probe]]] = {
    "creme": oracle_creme.probes,
    "djangocrm": oracle_djangocrm.probes,
    "tryton": oracle_tryton.probes,
    "bottle": oracle_bottle.probes,
    "dynamics": oracle_dynamics.probes,
}
ROOMS: Mapping[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    **SERVERS,
    "dynamics": oracle_dynamics.SERVER,
}
AT_WORK: Mapping[str, Callable[[Browser, str], Any]] = {"dynamics": oracle_dynamics.at_work}
"""How somebody works at a CRM that knows no sign-in of its own."""
MOVING: Mapping[str, Collection[str]] = {"bottle": oracle_bottle.MOVING}
"""Keys of JSON that differ between any two runs of a CRM."""
SHUFFLED = oracle_bottle.SHUFFLED
ELSEWHERE: Mapping[str, Callable[[Driver, Person, str, int], None]] = {"bottle": oracle_bottle.enter}
"""Enters a person's values wherever else a CRM holds some."""
LEAST = 300
"""Probes a CRM must be asked, or the drill proves little."""

_SURROGATES = re.compile(
    rb"e\.[a-z2-7]{32}@enc\.invalid|(?:%2B|\+|&#43;|\\u002b)?8887\d{10}|Z[qx][a-z2-7]{14}"
    rb"|11000018[5-9]\d{8}[0-9X]|9999\d{15}|(?:\+|%2B)?8889\d{6,12}|[\w.+-]+@[\w.-]*masked\.invalid"
)
_RUNS = (
    re.compile(rb"csrfmiddlewaretoken\D{1,20}?value=\"[^\"]+\""),
    re.compile(rb"\b[A-Za-z0-9]{64}\b"),  # tokens against forged forms
    re.compile(rb"nonce-?[=\"']+[A-Za-z0-9+/=_-]+"),
    re.compile(rb"localhost:\d+|127\.0\.0\.1:\d+"),
    re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?"),
    re.compile(rb"\b\d{1,2}:\d\d(?::\d\d)?(?:\s?[ap]\.?m\.?)?"),
    re.compile(rb"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    re.compile(rb"\b[0-9a-f]{32}\b"),
    re.compile(rb"creme_core-user(?:hf|filter)_[\w-]+"),  # Creme draws the ids of what a person keeps
    re.compile(rb"crmgate-test-creme-\w+"),
    re.compile(rb"Seconds: \d+"),
    re.compile(rb"&#x27;\d{4,5}&#x27;"),  # ports on a page about an error
    re.compile(rb"data-brick-(?:deps|reloading-info)=\"[^\"]*\""),
    re.compile(rb"(?:[?&](?:amp;)?exclude=[\w-]+)+"),
    re.compile(rb"&quot;offset&quot;: (?:null|\d+)"),  # BottleCRM counts ids that it draws at random
    re.compile(rb"&quot;exclude&quot;:\[[^\]]*\]"),  # a set of Python's
)


@dataclass(frozen=True, slots=True)
class Line:
    """One family of probes: how many, how many were refused on both sides, and the titles of those that differ."""

    family: str
    total: int
    refused: int
    different: tuple[str, ...] = ()


@dataclass(slots=True)
class Copy:
    """One of the two: its installation and a salesperson at work in it."""

    house: Stack
    sales: Driver


def normalise(
    answer: Answer, moving: Collection[str] = (), *, any_order: bool = False
) -> tuple[int, str, Counter[bytes]]:
    """Status, media type and lines of an answer without what differs between any two runs.

    moving: keys of JSON that always differ; any_order: lists of JSON come in any.
    """
    body = answer.body
    for pattern in _RUNS:
        body = pattern.sub(b"~", body)
    body = _SURROGATES.sub(b"*", body)
    if "json" in answer.header("content-type"):
        return answer.status, answer.header("content-type"), Counter([_canonical(body, moving, any_order=any_order)])
    lines = re.split(rb"[\r\n]+|(?<=>)|(?<=\}),|(?<=\]),", body)
    return answer.status, answer.header("content-type"), Counter(line.strip() for line in lines if line.strip())


def _canonical(body: bytes, moving: Collection[str] = (), *, any_order: bool = False) -> bytes:
    """A JSON answer with its keys in one order (Python sets decide Tryton's) and without the number of its refusal."""
    value = orjson.loads(body)
    if isinstance(value, dict):
        value.pop("exchange", None)
    if moving or any_order:
        value = _even(value, moving, any_order=any_order)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _even(value: Any, moving: Collection[str], *, any_order: bool) -> Any:
    if isinstance(value, dict):
        return {
            key: _even(inner, moving, any_order=any_order or key in SHUFFLED)
            for key, inner in value.items()
            if key not in moving
        }
    if isinstance(value, list):
        inside = [_even(one, moving, any_order=any_order) for one in value]
        return sorted(inside, key=lambda one: orjson.dumps(one, option=orjson.OPT_SORT_KEYS)) if any_order else inside
    return value


@contextlib.contextmanager
def copies(name: str, sides: Sequence[Sequence[Person]], *, clear: bool) -> Iterator[list[Copy]]:
    """Both copies with their people; clear: these were in the CRM before the gateway."""
    with contextlib.ExitStack() as stack:
        made = []
        for people in sides:
            server = stack.enter_context(ROOMS[name]())
            extra = "[tenant.main]\nmigrated = false" if clear else "[tenant.main]\nmigrated = true"
            house = stack.enter_context(installed(server, extra))
            enters = _worker(name, house, "manager", direct=clear)
            for number, person in enumerate(people):
                record = enters.add_person(person)
                if name in ELSEWHERE:
                    ELSEWHERE[name](enters, person, record, number)
            enters.browser.close()
            sales = _worker(name, house, "sales")
            stack.callback(sales.browser.close)
            made.append(Copy(house, sales))
        yield made


def _worker(name: str, house: Stack, who: str, *, direct: bool = False) -> Driver:
    """Somebody at work; direct: at the CRM itself."""
    if name not in AT_WORK:
        return house.direct(who) if direct else house.at_work(who)
    driver: Driver = AT_WORK[name](Browser(house.crm.url) if direct else house.signed_in(who), MEMBERS[who])
    return driver


def two_sides(count: int, *, clear: bool, seed: int = 5) -> tuple[list[Person], list[Person], Hidden]:
    """The same people twice, but for one of them."""
    people = make_people(random.Random(seed), count)
    other = next(one for one in make_people(random.Random(seed + 1), 40) if not one.foreign and one.language == "zh")
    here = next(index for index, one in enumerate(people) if not one.foreign and one.language == "zh")
    # The note of both says the same words; what differs in it is hidden, too.
    people[here] = replace(people[here], notes=f"ID {people[here].id_card}, card {people[here].bank_card}.")
    changed = list(people)
    changed[here] = replace(
        other, key=people[here].key, city=people[here].city, notes=f"ID {other.id_card}, card {other.bank_card}."
    )
    return people, changed, Hidden(people[here], changed[here], protected=not clear)


def asked(
    name: str, *, count: int, clear: bool, tell: Callable[[str, float], None], every: int = 1, only: str = ""
) -> list[Line]:
    """Every probe on both copies, or every n-th; only: those whose title holds this."""
    first, second, hidden = two_sides(count, clear=clear)
    probes = [one for one in PROBES[name](hidden) if only in one.title][::every]
    with copies(name, (first, second), clear=clear) as (left, right):
        totals, refused = Counter[str](), Counter[str]()
        different: dict[str, list[str]] = {}
        for number, probe in enumerate(probes):
            tell(probe.family, number / len(probes))
            totals[probe.family] += 1
            told = [_answers(probe, side.sales, MOVING.get(name, ())) for side in (left, right)]
            if told[0] != told[1]:
                different.setdefault(probe.family, []).append(f"{probe.title}: {_difference(*told)}")
            refused[probe.family] += all(isinstance(one, list) and one[-1][0] in (403, 409) for one in told)
    return [
        Line(family, totals[family], refused[family], tuple(different.get(family, ()))) for family in sorted(totals)
    ]


def _answers(probe: Probe, driver: Driver, moving: Collection[str]) -> list[tuple[int, str, Counter[bytes]]] | str:
    try:
        found = [normalise(one, moving, any_order=probe.any_order) for one in probe.ask(driver)]
    except BrowserFault as fault:
        return re.sub(r"\d+", "~", str(fault))
    return sorted(found, key=repr) if probe.any_order else found


def _difference(left: object, right: object) -> str:
    """What differs, in a few words, without a value."""
    if isinstance(left, str) or isinstance(right, str):
        return f"{left if isinstance(left, str) else 'answered'} | {right if isinstance(right, str) else 'answered'}"
    assert isinstance(left, list)
    assert isinstance(right, list)
    for one, other in zip(left, right, strict=False):
        if one[:2] != other[:2]:
            return f"{one[:2]} | {other[:2]}"
        if one[2] != other[2]:
            more, less = one[2] - other[2], other[2] - one[2]
            seen = _shown(sorted(more), sorted(less))
            return f"{sum(more.values())} lines | {sum(less.values())} lines; {seen}"
    return f"{len(left)} answers | {len(right)} answers"


def _shown(more: Sequence[bytes], less: Sequence[bytes]) -> str:
    """Where the first lines that are only on one side part: people here are invented, so it may be shown."""
    one, other = (lines[0].decode("utf-8", "replace") if lines else "" for lines in (more, less))
    alike = next((at for at, (here, there) in enumerate(zip(one, other, strict=False)) if here != there), 0)
    start = max(0, alike - 60)
    return f"{one[start : start + 110]} | {other[start : start + 110]}"


def show(name: str, lines: Sequence[Line], console: Console) -> None:
    """The table, and what differs."""
    table = Table(title=f"Two copies of {name} that differ in what a salesperson may not see")
    for column in ("family", "probes", "refused", "told apart"):
        table.add_column(column, justify="left" if column == "family" else "right")
    for line in lines:
        style = "bold red" if line.different else "green"
        table.add_row(line.family, str(line.total), str(line.refused), f"[{style}]{len(line.different)}[/]")
    console.print(table)
    for line in lines:
        for told in line.different[:12]:
            console.print(f"   {line.family}: {told}", highlight=False, markup=False)
    apart = sum(len(line.different) for line in lines)
    console.print(f"{name}: {sum(line.total for line in lines)} probes, {apart} told the copies apart")


def main() -> int:
    """Ask the CRMs asked for; 1 when anything tells the copies apart or too little was asked."""
    parser = argparse.ArgumentParser(prog="make oracle", description=__doc__)
    parser.add_argument("--crm", choices=(*PROBES, "all"), default="all")
    parser.add_argument("--story", choices=("entered", "clear", "both"), default="both")
    parser.add_argument("--people", type=int, default=12)
    parser.add_argument("--only", default="", help="only probes whose title holds this: for looking closer")
    given = parser.parse_args()
    console = Console(highlight=False, width=170)
    failed = 0
    for name in PROBES if given.crm == "all" else (given.crm,):
        for story in ("entered", "clear") if given.story == "both" else (given.story,):
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task(f"{name}, {story}", total=1.0)

                def tell(what: str, part: float) -> None:
                    progress.update(task, description=f"{name}, {story}: {what}", completed=part)  # noqa: B023 - used at once

                lines = asked(name, count=given.people, clear=story == "clear", tell=tell, only=given.only)
            console.print(f"Story: {story}")
            show(name, lines, console)
            failed += sum(len(line.different) for line in lines)
            failed += not given.only and sum(line.total for line in lines) < LEAST
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
