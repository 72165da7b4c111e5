"""`crmgate audit who`: who saw, wrote, exported or had revealed what of a record; `crmgate audit index`."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Annotated

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from audit import answers, store
from audit.answers import CHANGED, Answers, NothingToLookUp
from audit.entry import NOT_RECORDED
from audit.index_follower import differing, rebuild
from audit.question import FORMS, Question, seen
from audit.sealed import PATIENT
from gateway.access.store import UserStore
from gateway.access.user import login_key
from gateway.accounts import utc_now
from gateway.cli_archive import archive_told_plainly
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
from gateway.cli_trail_list import LOST
from gateway.composition_archive import archive_at_hand
from gateway.console.timeline import AT_THE_TERMINAL, deed_of
from gateway.database import Pool, open_pool
from gateway.named_people import NamedPeople
from gateway.period import since_of, until_of
from gateway.person_keys import open_people
from gateway.settings import Settings
from gateway.trail_reading import note_reading
from kms.pseudonym import is_pseudonym

LIMIT = 1_000
_ANEW = "Make it anew: crmgate audit index --rebuild"


def who(
    what: Annotated[str, typer.Argument(help="The record: its kind and its key in the CRM, such as contact.42.")] = "",
    field: Annotated[str, typer.Option(help="Only this field; without a record, with its kind: contact.phone.")] = "",
    person: Annotated[str, typer.Option(help="Only by this account: login or id.")] = "",
    form: Annotated[str, typer.Option(help=f"Only in this form: {', '.join(FORMS)}.")] = "",
    operation: Annotated[str, typer.Option(help="Only this operation.")] = "",
    outcome: Annotated[str, typer.Option(help="allowed or refused.")] = "",
    since: Annotated[str, typer.Option(help="How far back: 2y, 30d, or 2026-01-01.")] = "",
    until: Annotated[str, typer.Option(help="Last day, or a time with its zone.")] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=LIMIT, help="Newest answers to show.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line: index, and the entry.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Say who saw, wrote, exported or had revealed what of a record, newest first; asking is on record."""
    now = utc_now()
    first, last = since_of(since, now) if since else None, until_of(until) if until else None
    if since and first is None:
        raise quit_with(UNUSABLE, f"--since: {since} is no span (2y, 30d) and no day (2026-12-31).")
    if until and last is None:
        raise quit_with(UNUSABLE, f"--until: {until} is no day (2026-12-31) and no time with its zone.")
    if form and form not in FORMS:
        raise quit_with(UNUSABLE, f"--form: {form} is none of {', '.join(FORMS)}.")
    if outcome not in ("", "allowed", "refused"):
        raise quit_with(UNUSABLE, "--outcome is allowed or refused.")
    entity, _, record = (what or field).partition(".")
    if (what or field) and not (entity and record):
        raise quit_with(UNUSABLE, f"{what or field} names no record (contact.42) and no field (contact.phone).")
    name = field.rpartition(".")[2]
    question = Question(
        entity=entity, record=record if what else "", field=name, actor=person, operation=operation, form=form,
        outcome=outcome, since=first, until=last,
    )  # fmt: skip
    with installed(config, tenant) as at:
        try:
            found = asyncio.run(_ask(at.settings, at.dsn, at.tenant, question, lines))
        except NothingToLookUp:
            raise quit_with(UNUSABLE, "Say which record, field or person, such as: contact.42 --since 2y") from None
    _print(found, question, as_json=as_json)


def index(
    rebuild_it: Annotated[bool, typer.Option("--rebuild", help="Make it anew from the trail.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Compare the index of the trail with the trail; exit 1 when it lacks something."""
    with installed(config, tenant) as at, archive_told_plainly():
        entries, wrong = asyncio.run(_index(at.settings, at.dsn, at.tenant, rebuild_it=rebuild_it))
    if wrong:
        shown = ", ".join(map(str, wrong[:10])) + (" …" if len(wrong) > 10 else "")
        raise quit_with(PROBLEM, f"The index lacks {len(wrong)} of {entries} entries ({shown}). {_ANEW}")
    out.print(f"The index of {at.tenant} holds {entries} entries as the trail says.", markup=False)


async def _index(settings: Settings, dsn: str, tenant: str, *, rebuild_it: bool) -> tuple[int, list[int]]:
    archive = archive_at_hand(settings, dsn)
    pool = await open_pool(dsn, max_size=1)
    try:
        if rebuild_it:
            async with pool.of(tenant) as connection:
                await rebuild(connection, tenant, archive)
        async with pool.of(tenant) as connection:
            await store.snapshot(connection)
            return await differing(connection, tenant, archive)
    finally:
        await pool.close()


async def _ask(settings: Settings, dsn: str, tenant: str, question: Question, limit: int) -> Answers:
    pool = await open_pool(dsn, max_size=1)
    try:
        async with open_people(settings, tenant, pool) as people:
            asked = await _named(pool, people, tenant, question)
            known = is_pseudonym(asked.record) or not people.holds_people(tenant, asked.entity)
        if not asked.terms:
            raise NothingToLookUp
        await _note(dsn, tenant, asked, asked.record if known else NOT_RECORDED)
        archive = archive_at_hand(settings, dsn)
        async with pool.of(tenant) as connection:
            await store.snapshot(connection)
            page = await answers.ask(connection, tenant, asked, limit, archive=archive, budget=PATIENT)
            found, misfits = list(page.answers), page.misfits
            while page.older is not None and len(found) < limit:
                page = await answers.ask(
                    connection, tenant, asked, limit - len(found), before=page.older, archive=archive, budget=PATIENT
                )
                found, misfits = [*found, *page.answers], misfits + page.misfits
            return replace(page, answers=found, misfits=misfits)
    finally:
        await pool.close()


async def _named(pool: Pool, people: NamedPeople, tenant: str, question: Question) -> Question:
    """The question with the record and the person as the trail names them."""
    names = await people.names_of(tenant, question.entity, question.record) if question.record else [""]
    actor = question.actor
    for user in await UserStore(pool).users(tenant) if actor else ():
        if login_key(actor) == login_key(user.login):
            actor = user.id
            break
    return replace(question, record=names[-1], others=tuple(names[:-1]), actor=actor)


async def _note(dsn: str, tenant: str, question: Question, record: str) -> None:
    more = {"records": [f"{question.entity}.{record}"]} if record else {}
    await note_reading(dsn, tenant, AT_THE_TERMINAL, question.names, **more)


def _print(asked: Answers, question: Question, *, as_json: bool) -> None:
    found = asked.answers
    # Beside the answers, so that a program that reads JSON is told, too.
    if asked.unread:
        err.print(
            f"Not complete: {asked.unread} entries were not looked through. {_ANEW}", style="yellow", markup=False
        )
    if asked.misfits:
        err.print(f"The index named {asked.misfits} entries that say otherwise. {_ANEW}", style="yellow", markup=False)
    if as_json:
        for one in found:
            content = None if one.content is None else dict(one.content)
            told = {"index": one.index, "intact": one.intact, "sealed": one.sealed, "lost": one.lost, "entry": content}
            out.print(orjson.dumps(told).decode(), markup=False)
        return
    table = Table("when (UTC)", "who", "did", "fields and form", "why", "address", "entry", box=None)
    for one in found:
        e = one.content
        if e is None:
            table.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", "", "cannot be read", "", "", "", str(one.index))
            continue
        sights = seen(question, e)
        fields = ", ".join(f"{field} {form}" + (f" ×{count}" if count > 1 else "") for _, field, form, count in sights)
        deed = deed_of(e, {form for _, _, form, _ in sights})
        did = f"{deed} ({e['operation'] or '-'})" + ("" if one.intact else " CHANGED")
        table.add_row(
            f"{one.at:%Y-%m-%d %H:%M:%S}", escape(e["actor_login"] or "-"), escape(did), escape(fields or "-"),
            escape(e["reason"] or e["kind"]), escape(e["client"] or "-"), str(one.index),
        )  # fmt: skip
    if found:
        out.print(table, markup=False)
    for why, count in Counter(one.lost for one in found if one.content is None).items():
        reason = "missing from the trail or changed" if why == CHANGED else LOST[why]
        out.print(f"{count} of them cannot be read: {reason}", style="yellow", markup=False)
    out.print(f"{len(found)} answers. Prove one: crmgate audit prove ENTRY", style="dim", markup=False)
