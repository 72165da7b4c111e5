"""`crmgate audit`: verify the trail, and watch it."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Annotated

import orjson
import typer

from audit.note import read_signer
from audit.query import StoredEntry, tail
from audit.verify import LogTampered, verify
from gateway.cli_archive import prune, restore, seal, segments
from gateway.cli_hold import hold_app
from gateway.cli_pack import pack
from gateway.cli_plan import plan
from gateway.cli_proof import check_proof, prove, show_key, tiles
from gateway.cli_query import query
from gateway.cli_shell import PROBLEM, FileOption, TenantOption, out, quit_with, settings_of, tenant_of, told_plainly
from gateway.cli_trail_status import status
from gateway.database import open_pool
from gateway.opening import open_database

app = typer.Typer(help="The audit trail.", no_args_is_help=True)

app.command("status")(status)
app.command("key")(show_key)
app.command("prove")(prove)
app.command("check-proof")(check_proof)
app.command("tiles")(tiles)
app.command("pack")(pack)
app.command("query")(query)
app.command("seal")(seal)
app.command("segments")(segments)
app.command("prune")(prune)
app.command("restore")(restore)
app.command("plan")(plan)
app.add_typer(hold_app, name="hold")

_COLOURS: Mapping[str, str] = {"2": "green", "3": "cyan", "4": "yellow", "5": "red"}


@app.command("verify")
def verify_trail(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Check every entry, index and signed checkpoint; one changed byte is found and named."""
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        signer = read_signer(settings.checkpoint_key_path)
        database = open_database(settings)
        try:
            found = asyncio.run(verify(database.dsn, name, signer.verifier, settings.checkpoint_folder))
        except LogTampered as fault:
            raise quit_with(PROBLEM, f"The audit trail was changed: {fault}") from None
        finally:
            database.close()
    out.print(f"The audit trail of {found.tenant} is whole: {found.entries} entries, {found.checkpoints} checkpoints.")
    if found.hot:
        out.print(f"{found.hot} of them are in sealed segments only; read those with: crmgate audit segments --verify")
    out.print(f"root {found.root}  signed {found.signed}  not yet signed {found.unsigned}", style="dim")


@app.command("tail")
def tail_trail(
    tenant: TenantOption = "",
    backlog: Annotated[int, typer.Option("--lines", "-n", help="Entries to show first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: FileOption = None,
) -> None:
    """Show the trail as it is written; Ctrl-C ends it."""
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        database = open_database(settings)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(_follow(database.dsn, name, backlog, as_json=as_json))
        finally:
            database.close()


async def _follow(dsn: str, tenant: str, backlog: int, *, as_json: bool) -> None:
    pool = await open_pool(dsn, max_size=2)
    try:
        async for entry in tail(pool, tenant, backlog=backlog):
            if as_json:
                out.print(entry.body.decode(), markup=False)
            else:
                out.print(_line(entry), style=_COLOURS.get(str(entry.status)[:1], ""), markup=False)
    finally:
        await pool.close()


def _line(entry: StoredEntry) -> str:
    told = orjson.loads(entry.body)
    who = told["actor_login"] or "-"
    thing = f"{entry.entity}/{entry.record}" if entry.record else entry.entity
    parts = [
        f"{entry.at:%Y-%m-%d %H:%M:%S}",
        entry.kind,
        who,
        entry.operation,
        thing,
        entry.reason,
        str(entry.status or ""),
    ]
    shown = told["fields"].get("shown")
    return "  ".join(part for part in parts if part) + (f"  {_forms(shown)}" if shown else "")


def _forms(shown: Mapping[str, object]) -> str:
    """How many fields went out in which form: `clear 3, masked 2`."""
    counts: dict[str, int] = {}
    for records in shown.values():
        for forms in records.values() if isinstance(records, dict) else ():
            for form, count in forms.items() if isinstance(forms, dict) else ():
                counts[form] = counts.get(form, 0) + int(count)
    return ", ".join(f"{form} {count}" for form, count in sorted(counts.items()))
