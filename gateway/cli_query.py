"""`crmgate audit query`: asks the trail in SQL."""

import asyncio
import getpass
import secrets
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from audit.entry import AuditEntry
from audit.log import AuditLog
from audit.sql.answer import Answer, Busy, QueryFailed
from audit.sql.refused import StatementRefused
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
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
from gateway.composition_archive import archive_at_hand
from gateway.console.language import read_languages
from gateway.console.query_words import words
from gateway.database import open_pool
from gateway.person_keys import open_people
from gateway.query_desk import OPERATION, QueryDesk, query_limits
from gateway.query_people import pseudonyms_of_persons
from gateway.query_result import cells, csv_lines, json_lines, parquet
from gateway.settings import Settings


class Shape(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def query(
    statement: Annotated[
        str,
        typer.Argument(
            help="What to ask of the tables event and sight; person('contact/17') is a customer by kind and number in"
            " the CRM; - reads it from standard input, unseen."
        ),
    ],
    shape: Annotated[
        Shape, typer.Option("--format", help="table, csv, json (one object a line) or parquet.")
    ] = Shape.TABLE,
    target: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this new file instead.")] = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Ask the audit trail in SQL; Ctrl-C stops the statement. What is asked is on record, without its values."""
    if target is not None and target.exists():
        raise quit_with(UNUSABLE, f"{target} is there already; name another file.")
    if shape is Shape.PARQUET and target is None:
        raise quit_with(UNUSABLE, "Parquet needs a file: --output FILE.")
    text = sys.stdin.read() if statement == "-" else statement
    with installed(config, tenant) as at:
        try:
            answer = asyncio.run(_ask(at.settings, at.dsn, at.tenant, text))
        except (StatementRefused, QueryFailed, Busy) as fault:
            raise _both(fault) from None
    _write(answer, shape, target)
    if answer.more:
        err.print(f"There are more rows than {answer.limit}; write LIMIT to get more.", style="yellow")


async def _ask(settings: Settings, dsn: str, tenant: str, statement: str) -> Answer:
    async with AuditLog(dsn) as log:
        return await _answer(log, settings, dsn, tenant, statement)


async def _answer(log: AuditLog, settings: Settings, dsn: str, tenant: str, statement: str) -> Answer:
    async def note(reason: str, status: int, fields: Mapping[str, Any]) -> None:
        await log.append(
            AuditEntry(
                actor="command-line",
                actor_login=getpass.getuser(),
                at=utc_now(),
                fields=fields,
                id=new_id("a", secrets.token_bytes),
                kind="console",
                operation=OPERATION,
                reason=reason,
                status=status,
                tenant=tenant,
            )
        )

    limits, ids = query_limits(settings.audit), partial(new_id, "q", secrets.token_bytes)
    # An installation that has never run has no key yet, and nothing that is sealed.
    archive = archive_at_hand(settings, dsn)

    async def named(tenant: str, asked: Sequence[str]) -> Mapping[str, Sequence[str]]:
        pool = await open_pool(dsn, max_size=1)  # keys are opened for a statement that needs them only
        try:
            async with open_people(settings, tenant, pool) as people:
                return await pseudonyms_of_persons(people, tenant, asked)
        finally:
            await pool.close()

    desk = QueryDesk(dsn, archive, utc_now, ids, limits, named)
    try:
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=err, transient=True
        ) as shown:
            bar = shown.add_task("start", total=1.0)
            return await desk.answer(
                (tenant, "command-line"),
                statement,
                note,
                lambda step, part: shown.update(bar, description=step, completed=part),
            )
    finally:
        await desk.close()


def _both(fault: StatementRefused | QueryFailed | Busy) -> typer.Exit:
    """An exit with a sentence in each language there is."""
    said = [words(fault, one.sentences.gettext) for one in read_languages().values()]
    return quit_with(UNUSABLE if isinstance(fault, StatementRefused) else PROBLEM, "\n".join(dict.fromkeys(said)))


def _write(answer: Answer, shape: Shape, target: Path | None) -> None:
    table = answer.table
    if shape is Shape.PARQUET:
        content = parquet(table)
    elif shape is Shape.CSV:
        content = "".join(csv_lines(table)).encode()
    elif shape is Shape.JSON:
        content = "".join(f"{line}\n" for line in json_lines(table)).encode()
    elif target is None:
        drawn = Table(*table.column_names)
        for row in cells(table):
            drawn.add_row(*(text.replace("[", r"\[") for text in row))
        out.print(drawn)
        return
    else:
        content = "".join("\t".join(row) + "\n" for row in [table.column_names, *cells(table)]).encode()
    if target is None:
        sys.stdout.write(content.decode())
        return
    try:
        with target.open("xb") as file:
            file.write(content)
    except OSError as fault:
        raise quit_with(UNUSABLE, f"{target} cannot be written ({fault.strerror}).") from None
    out.print(f"{table.num_rows} rows are in {target}", markup=False)
