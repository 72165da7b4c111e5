"""`crmgate learn`: watch a CRM that has no profile, propose one, write it down; and what drifts from a profile later.

Exit codes: 0 done; 1 there is nothing to do it with, or something would be overwritten; 2 cannot be used.
No command prints a value of a record: samples are masks.
"""

import asyncio
import json
import secrets
import ssl
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

import typer
from rich.markup import escape
from rich.table import Table

from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.cli_installed import Installed, installed
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    out,
    quit_with,
)
from gateway.database import open_pool
from gateway.learn.desk import LONGEST_MINUTES, AnswerUnknown, Desk, NothingLearnt
from gateway.learn.document import MOST_BYTES, DocumentInvalid
from gateway.learn.profile_text import problems_of, write_profile
from gateway.learn.proposal import Proposal
from gateway.learn.store import LearnStore, RunUnderWay

app = typer.Typer(help="Learn a CRM that has no profile: watch, propose, accept.", no_args_is_help=True)

T = TypeVar("T")
NameOption = Annotated[str, typer.Option("--name", help="Name of the profile; else that of the tenant.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
FETCH_S = 30.0
LEARNT_WITH = "generic"
NOTHING = "Nothing was learnt of {tenant} yet. Begin with: crmgate learn start --tenant {tenant}"


def _run(at: Installed, work: Callable[[LearnStore], Awaitable[T]]) -> T:
    """Do something with the store; what an operator can act on becomes a sentence."""

    async def inside(dsn: str) -> T:
        async with await open_pool(dsn, max_size=2) as pool:
            return await work(LearnStore(pool))

    try:
        return asyncio.run(inside(at.dsn))
    except NothingLearnt:
        raise quit_with(PROBLEM, NOTHING.format(tenant=at.tenant)) from None
    except RunUnderWay:
        raise quit_with(PROBLEM, f"{at.tenant} is watched already. Look with: crmgate learn status") from None
    except (AnswerUnknown, DocumentInvalid) as fault:
        raise quit_with(UNUSABLE, str(fault)) from None


@app.command()
def start(
    minutes: Annotated[int, typer.Option(help="How long to watch.", min=1, max=LONGEST_MINUTES)] = 10,
    document: Annotated[
        str, typer.Option(help="OpenAPI, GraphQL introspection or OData $metadata: a file or an http(s) address.")
    ] = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Watch what passes to a CRM while people work in it; what an earlier run saw is forgotten."""
    with installed(config, tenant) as at:
        chosen = at.tenant
        if str(at.settings.tenants[chosen].profile) != LEARNT_WITH:
            raise quit_with(
                PROBLEM,
                f'{chosen} runs with a profile of its own. To learn it anew set profile = "{LEARNT_WITH}" for it and'
                " restart; until then nothing is watched.",
            )
        data = _fetched(document) if document else b""

        async def begin(store: LearnStore) -> str:
            desk = Desk(store)
            await desk.start(chosen, new_id("l", secrets.token_bytes), utc_now(), minutes, "command line")
            if not data:
                return ""
            read = await desk.read_document(chosen, data)
            return f"Read {read.kind}: {len(read.fields)} fields, {len(read.actions)} operations."

        told = _run(at, begin)
    if told:
        out.print(told)
    out.print(
        f"Watching {chosen} for {minutes} minutes; no value is kept. Sign in to the CRM through crmgate and work:",
        markup=False,
    )
    out.print("open lists and records, add one, edit it, search, export. Then: crmgate learn proposal")


def _fetched(place: str) -> bytes:
    """A document from a file or an address; bounded."""
    if urlsplit(place).scheme in ("http", "https"):
        try:
            opener = urllib.request.build_opener(
                urllib.request.HTTPSHandler(context=ssl.create_default_context()), urllib.request.HTTPHandler()
            )
            with opener.open(place, timeout=FETCH_S) as answer:
                return bytes(answer.read(MOST_BYTES + 1))
        except (OSError, ValueError):
            raise quit_with(PROBLEM, "The document cannot be had from that address.") from None
    try:
        return Path(place).read_bytes()
    except OSError:
        raise quit_with(UNUSABLE, f"There is no file {place}.") from None


@app.command()
def status(tenant: TenantOption = "", config: FileOption = None, as_json: JsonOption = False) -> None:
    """Show what was seen so far."""
    with installed(config, tenant) as at:
        chosen = at.tenant
        progress = _run(at, lambda store: Desk(store).progress(chosen, utc_now()))
    seen = progress.evidence
    facts = {
        "watching": progress.on, "seconds_left": int(progress.left.total_seconds()), "exchanges": seen.exchanges,
        "routes": len(seen.routes), "calls": len(seen.calls), "places": len(seen.places), "forms": len(seen.forms),
        "dropped": seen.dropped, "document": progress.run.document.kind,
    }  # fmt: skip
    if as_json:
        out.print_json(json.dumps(facts))
        return
    for name, value in facts.items():
        out.print(f"{name.replace('_', ' '):<14} {value}", markup=False)


@app.command()
def proposal(
    name: NameOption = "", tenant: TenantOption = "", config: FileOption = None, as_json: JsonOption = False
) -> None:
    """Show the profile that follows: fields with confidence and masked samples, operations, decisions."""
    with installed(config, tenant) as at:
        chosen = at.tenant
        made = _run(at, lambda store: Desk(store).proposal(chosen, name or chosen, utc_now()))
    if as_json:
        out.print_json(json.dumps(made.plain(), ensure_ascii=False))
        return
    _show(made)


def _show(made: Proposal) -> None:
    table = Table("field", "kind", "sure", "why", "samples (masked)", "seen at", box=None)
    for one in sorted(made.fields, key=lambda field: (field.entity, -field.confidence)):
        bar = "█" * round(one.confidence * 10)
        table.add_row(
            escape(one.id), one.kind, f"{one.confidence:.2f} {bar}", escape("; ".join(one.reasons)),
            escape("  ".join(one.samples)), escape(one.places[0] if one.places else ""),
        )  # fmt: skip
    out.print(table)
    counts = (
        f"{made.exchanges} exchanges, {len(made.fields)} fields, {len(made.operations)} operations, {made.calls} calls"
    )
    out.print(f"\n{counts}; refused because nothing says what they do: {len(made.refused)}", markup=False)
    out.print(f"\nDecisions ({len(made.decisions)}; without an answer the default counts, which is the safe one):")
    for decision in made.decisions:
        out.print(f"  [bold]{escape(decision.id)}[/]  {escape(decision.question)}")
        for answer, meaning in decision.options.items():
            mark = "default " if answer == decision.default else ""
            out.print(f"      {escape(answer):<8} {mark}{escape(meaning)}")
        if decision.values:
            out.print(f"      {escape(', '.join(decision.values[:8]))}", style="dim")
    for problem in problems_of(made.source):
        out.print(f"[red]wrong[/]  {escape(problem)}")


@app.command()
def decide(
    answers: Annotated[list[str], typer.Argument(metavar="DECISION=ANSWER...", help="As `proposal` lists them.")],
    name: NameOption = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Answer decisions; what is not answered keeps its default."""
    given = dict(one.split("=", 1) for one in answers if "=" in one)
    if len(given) != len(answers):
        raise quit_with(UNUSABLE, "Write each as DECISION=ANSWER.")
    with installed(config, tenant) as at:
        chosen = at.tenant
        _run(at, lambda store: Desk(store).decide(chosen, name or chosen, given, utc_now()))
    out.print(f"{len(given)} decided.")


@app.command()
def accept(
    file: Annotated[Path, typer.Argument(help="Where the profile is written, such as mycrm.yaml; never overwritten.")],
    name: NameOption = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Write the proposed profile to a file, stop watching, and say how to use it."""
    if file.suffix not in (".yaml", ".yml"):
        raise quit_with(UNUSABLE, "The name of a profile file ends in .yaml.")
    with installed(config, tenant) as at:
        chosen = at.tenant

        async def ended(store: LearnStore) -> Proposal:
            made = await Desk(store).proposal(chosen, name or chosen, utc_now())
            problems = problems_of(made.source)
            if problems:
                raise quit_with(PROBLEM, "The proposal cannot be used: " + "; ".join(problems))
            try:
                with file.open("x", encoding="utf-8") as target:
                    target.write(write_profile(made.source, f"{utc_now():%Y-%m-%d}"))
            except FileExistsError:
                raise quit_with(PROBLEM, f"{file} exists already; nothing was written.") from None
            except OSError:
                raise quit_with(PROBLEM, f"{file} cannot be written.") from None
            await store.stop(chosen, utc_now())
            return made

        made = _run(at, ended)
    out.print(f"Wrote {file}: {len(made.fields)} fields, {len(made.operations)} operations.", markup=False)
    out.print(
        f'Next:\n  crmgate profile lint {file}\n  set profile = "{file.absolute()}" under [tenant.{chosen}]',
        markup=False,
    )
    out.print(
        "  crmgate check, then restart crmgate serve\nWhat the CRM held before stays clear until it is protected."
    )


@app.command()
def stop(
    forget: Annotated[bool, typer.Option(help="Also delete what was seen.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Stop watching; what was seen stays for the proposal."""
    with installed(config, tenant) as at:
        chosen = at.tenant

        async def end(store: LearnStore) -> bool:
            stopped = await Desk(store).stop(chosen, utc_now())
            if forget:
                await store.forget(chosen)
            return stopped

        stopped = _run(at, end)
    out.print("Stopped." if stopped else "Nothing was watched.")


@app.command()
def drift(
    clear: Annotated[bool, typer.Option(help="Forget what is listed.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """List endpoints and fields that the CRM shows and the profile does not declare. Exit code 1: there are some."""
    with installed(config, tenant) as at:
        chosen = at.tenant
        if clear:
            gone = _run(at, lambda store: store.clear_drift(chosen))
            out.print(f"{gone} forgotten.")
            return
        found = _run(at, lambda store: store.drift(chosen))
    if as_json:
        rows = [
            {
                "sort": one.sort,
                "place": one.place,
                "kind": one.kind,
                "times": one.times,
                "first_seen": one.first_seen.isoformat(),
                "last_seen": one.last_seen.isoformat(),
            }
            for one in found
        ]
        out.print_json(json.dumps(rows))
    else:
        table = Table("what", "place", "kind", "times", "first seen", "last seen", box=None)
        for one in found:
            table.add_row(one.sort, escape(one.place), one.kind, str(one.times), f"{one.first_seen:%Y-%m-%d %H:%M}",
                          f"{one.last_seen:%Y-%m-%d %H:%M}")  # fmt: skip
        out.print(table if found else "Nothing drifted from the profile.")
    if found:
        raise typer.Exit(PROBLEM)
