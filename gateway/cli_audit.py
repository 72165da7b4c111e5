"""`crmgate audit`: verify the trail, and watch it."""

import asyncio
import contextlib
from typing import Annotated

import typer

from audit.catalogue import fits
from audit.query import Filters, entry_tag, tail
from audit.verify import LogTampered, verify
from gateway.checkpoint_key import verifier_of
from gateway.cli_archive import prune, restore, seal, segments
from gateway.cli_hold import hold_app
from gateway.cli_installed import installed
from gateway.cli_pack import pack
from gateway.cli_plan import plan
from gateway.cli_proof import check_proof, prove, show_key, tiles
from gateway.cli_query import query
from gateway.cli_shell import PROBLEM, FileOption, TenantOption, out, quit_with
from gateway.cli_trail_list import TagOption, checked_tag, line_of, list_tags, list_trail, style_of
from gateway.cli_trail_status import status
from gateway.cli_who import index, who
from gateway.database import open_pool
from gateway.person_keys import open_people
from gateway.settings import Settings
from gateway.trail_reading import TAIL, given_in, named_filters, note_reading, told_filters

app = typer.Typer(help="The audit trail.", no_args_is_help=True)

app.command("status")(status)
app.command("list")(list_trail)
app.command("tags")(list_tags)
app.command("key")(show_key)
app.command("prove")(prove)
app.command("check-proof")(check_proof)
app.command("tiles")(tiles)
app.command("pack")(pack)
app.command("seal")(seal)
app.command("segments")(segments)
app.command("prune")(prune)
app.command("restore")(restore)
app.command("plan")(plan)
app.add_typer(hold_app, name="hold")
app.command("who")(who)
app.command("index")(index)
app.command("query")(query)


@app.command("verify")
def verify_trail(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Check every entry, index and signed checkpoint; one changed byte is found and named."""
    with installed(config, tenant) as at:
        verifier = verifier_of(at.settings)
        try:
            found = asyncio.run(verify(at.dsn, at.tenant, verifier, at.settings.checkpoint_folder))
        except LogTampered as fault:
            raise quit_with(PROBLEM, f"The audit trail was changed: {fault}") from None
    out.print(f"The audit trail of {found.tenant} is whole: {found.entries} entries, {found.checkpoints} checkpoints.")
    if found.hot:
        out.print(f"{found.hot} of them are in sealed segments only; read those with: crmgate audit segments --verify")
    out.print(f"root {found.root}  signed {found.signed}  not yet signed {found.unsigned}", style="dim")


@app.command("tail")
def tail_trail(
    tenant: TenantOption = "",
    backlog: Annotated[int, typer.Option("--lines", "-n", help="Entries to show first.")] = 20,
    tag: TagOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as it is kept.")] = False,
    record: Annotated[str, typer.Option(help="Only about this record, by the CRM's key.")] = "",
    entity: Annotated[str, typer.Option(help="Only about this kind of record, as the profile names it.")] = "",
    config: FileOption = None,
) -> None:
    """Show the trail as it is written; Ctrl-C ends it."""
    pattern = checked_tag(tag)
    with installed(config, tenant) as at, contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_follow(at.settings, at.dsn, at.tenant, backlog, pattern, (entity, record), as_json=as_json))


async def _follow(
    settings: Settings, dsn: str, tenant: str, backlog: int, pattern: str, about: tuple[str, str], *, as_json: bool
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        pool = await open_pool(dsn, max_size=2)
        stack.push_async_callback(pool.close)
        people = await stack.enter_async_context(open_people(settings, tenant, pool))
        filters = await named_filters(people, tenant, Filters(entity=about[0], record=about[1]))
        told = told_filters(given_in(filters) | {"tag": pattern}, found=True)
        await note_reading(dsn, tenant, TAIL, told)
        async for entry in tail(pool, tenant, filters=filters, backlog=backlog):
            if pattern and not fits(entry_tag(entry), pattern):
                continue
            if as_json:
                out.print(entry.body.decode(), markup=False)
            else:
                known = await people.told(tenant, [entry.record])
                out.print(line_of(entry, known), style=style_of(entry), markup=False)
