"""`crmgate audit`: verify the trail, and watch it."""

import asyncio
import contextlib
from typing import Annotated

import typer

from audit.catalogue import fits
from audit.note import read_signer
from audit.query import entry_tag, tail
from audit.verify import LogTampered, verify
from gateway.cli_pack import pack
from gateway.cli_proof import check_proof, prove, show_key, tiles
from gateway.cli_shell import PROBLEM, FileOption, TenantOption, out, quit_with, settings_of, tenant_of, told_plainly
from gateway.cli_trail_list import TagOption, checked_tag, line_of, list_tags, list_trail, style_of
from gateway.cli_trail_status import status
from gateway.database import open_pool
from gateway.opening import open_database
from gateway.trail_reading import TAIL, note_reading, told_filters

app = typer.Typer(help="The audit trail.", no_args_is_help=True)

app.command("status")(status)
app.command("list")(list_trail)
app.command("tags")(list_tags)
app.command("key")(show_key)
app.command("prove")(prove)
app.command("check-proof")(check_proof)
app.command("tiles")(tiles)
app.command("pack")(pack)


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
    out.print(f"root {found.root}  signed {found.signed}  not yet signed {found.unsigned}", style="dim")


@app.command("tail")
def tail_trail(
    tenant: TenantOption = "",
    backlog: Annotated[int, typer.Option("--lines", "-n", help="Entries to show first.")] = 20,
    tag: TagOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: FileOption = None,
) -> None:
    """Show the trail as it is written; Ctrl-C ends it."""
    pattern = checked_tag(tag)
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        database = open_database(settings)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(_follow(database.dsn, name, backlog, pattern, as_json=as_json))
        finally:
            database.close()


async def _follow(dsn: str, tenant: str, backlog: int, pattern: str, *, as_json: bool) -> None:
    await note_reading(dsn, tenant, TAIL, told_filters({"tag": pattern}, found=True))
    pool = await open_pool(dsn, max_size=2)
    try:
        async for entry in tail(pool, tenant, backlog=backlog):
            if pattern and not fits(entry_tag(entry), pattern):
                continue
            if as_json:
                out.print(entry.body.decode(), markup=False)
            else:
                out.print(line_of(entry), style=style_of(entry), markup=False)
    finally:
        await pool.close()
