"""`crmgate keys person`: the keys of data subjects: what there is, destroying those of records, turning the epoch.

Who destroys or turns identifies with login, password and a code of the authenticator app, typed at the terminal. Every
step is in the audit trail; at the end there is a signed certificate.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress, TextColumn
from rich.table import Table

from gateway.access.sign_in import Attempt
from gateway.cli_destroy import Login, TokenOption, credentials, print_signed, said
from gateway.cli_installed import installed
from gateway.cli_shell import (
    PROBLEM,
    FileOption,
    TenantOption,
    err,
    out,
    quit_with,
)
from gateway.key_step import Credentials, NotAllowed
from gateway.settings import Settings
from gateway.shredding import OrderRefused
from gateway.shredding_store import Order
from kms.person import EpochState

if TYPE_CHECKING:
    from gateway.shredding_desk import (
        ShreddingDesk,  # brings the policy engine along, which the others need not wait for
    )

app = typer.Typer(help="Keys of data subjects: look, destroy, turn the epoch.", no_args_is_help=True)


@app.command("status")
def status(tenant: TenantOption = "", config: FileOption = None) -> None:
    """Show epochs, holders and orders; never a key."""

    async def work(at: "At") -> None:
        counts, epochs = await at.desk.shredder.counts(at.tenant), await at.desk.persons.store.epochs(at.tenant)
        lines = (
            f"person keys: {counts.persons.keys} in {at.desk.store_name}",
            f"holders: {counts.living} live, {counts.erased} erased (tombstones there: {counts.persons.erased})",
            f"values held by person keys: {counts.held}; of before them: {counts.unheld}",
        )
        for line in lines:
            out.print(line, markup=False)
        table = Table("epoch", "state", "begun", "closed", box=None)
        for one in epochs:
            closed = "" if one.closed_at is None else f"{one.closed_at:%Y-%m-%d %H:%M}"
            begun = "" if one.begun_at is None else f"{one.begun_at:%Y-%m-%d %H:%M}"
            table.add_row(str(one.number), one.state, begun, closed)
        out.print(table)
        _print_orders(await at.desk.shredding.orders())
        if any(one.state is EpochState.OLD for one in epochs):
            out.print("A turn was begun and is not finished: crmgate keys person turn", style="yellow")

    _run(config, tenant, None, work)


@app.command("destroy")
def destroy(
    records: Annotated[list[str], typer.Argument(help="ENTITY/RECORD, as the profile and the CRM name them.")],
    reason: Annotated[str, typer.Option("--reason", help="A case number, without blanks; no name of anybody.")],
    login: Login,
    collect: Annotated[
        bool, typer.Option("--collect", help="Leave the turn of the epoch for later: crmgate keys person turn.")
    ] = False,
    token_file: TokenOption = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Destroy the person keys of records at once and for good; what other records hold as well stays with them."""
    named = [(entity, record) for entity, _, record in (one.partition("/") for one in records)]
    typer.confirm(f"Nothing brings the values of {len(named)} record(s) back. Go on?", abort=True)
    given = credentials(login)

    async def work(at: "At") -> None:
        by = await at.desk.prove(given)
        order = await at.desk.shredding.erase(named, reason, by)
        counts, bare = order.counts, order.counts["bare"]
        gone = counts["entries"] + counts["beside"] - bare
        out.print(
            f"{order.id}: {counts['keys']} person keys destroyed; {gone} values open nowhere any more,"
            f" {counts['shared']} stay with others, {counts['unheld'] + bare} under field keys deleted.",
            markup=False,
        )
        if counts["sealed"]:
            out.print(f"{counts['sealed']} cells and files of these records in the CRM open nowhere any more.")
        if counts["cells"]:
            out.print(f"{counts['cells']} older cells and files of theirs stay in the CRM until it deletes them.")
        if collect:
            out.print("Copies of the person store still open them until: crmgate keys person turn")
        else:
            await _turn(at, by_given=given)

    _run(config, tenant, token_file, work)


@app.command("turn")
def turn(login: Login, token_file: TokenOption = None, tenant: TenantOption = "", config: FileOption = None) -> None:
    """Turn the epoch: copies of the person store made before open nothing any more. May be repeated after a failure."""
    given = credentials(login)

    async def work(at: "At") -> None:
        await _turn(at, by_given=given)

    _run(config, tenant, token_file, work)


@app.command("certificate")
def certificate(
    number: Annotated[str, typer.Argument(help="The id that `destroy` printed.")],
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Print the certificate of an order after checking its signature; exit code 1 when it is not whole."""

    async def work(at: "At") -> None:
        found = next((one for one in await at.desk.shredding.orders() if one.id == number), None)
        if found is None or not found.certificate:
            raise quit_with(
                PROBLEM, f"There is no certificate of {number} yet: it is signed when the epoch was turned."
            )
        print_signed(at.settings, at.tenant, "certificate", found.certificate)

    _run(config, tenant, None, work)


async def _turn(at: "At", by_given: Credentials) -> None:
    by = at.desk.proved or await at.desk.prove(by_given)
    with Progress(TextColumn("{task.description}"), console=err, transient=True) as progress:
        shown = progress.add_task("turning the epoch")
        turned, certified = await at.desk.shredding.turn(
            by, lambda left: progress.update(shown, description=f"person keys left under the old epoch: {left}")
        )
    out.print(
        f"Epoch {turned.epoch} since {turned.closed_at:%Y-%m-%d %H:%M} UTC; {turned.survivors} person keys moved."
    )
    out.print("Back up the store of person keys now: backups of before open nothing any more.")
    for one in certified:
        out.print(f"{one.id}: certified. Print it with: crmgate keys person certificate {one.id}", markup=False)


def _print_orders(orders: list[Order]) -> None:
    table = Table("order", "ordered", "by", "reason", "records", "state", box=None)
    for one in orders:
        state = "certified" if one.certificate else "destroyed, epoch not turned" if one.destroyed_at else "unfinished"
        table.add_row(one.id, f"{one.begun_at:%Y-%m-%d %H:%M}", one.by.login, one.reason, str(len(one.records)), state)
    if orders:
        out.print(table)


@dataclass(frozen=True, slots=True)
class At:
    """What a command works with."""

    settings: Settings
    tenant: str
    desk: "ShreddingDesk"


def _run(config: Path | None, tenant: str, token_file: Path | None, work: Callable[[At], Awaitable[None]]) -> None:
    with installed(config, tenant) as at:
        try:
            asyncio.run(_with_desk(at.settings, at.tenant, at.dsn, token_file, work))
        except Attempt as attempt:
            raise quit_with(PROBLEM, said(attempt)) from None
        except (NotAllowed, OrderRefused) as refused:
            raise quit_with(PROBLEM, f"Not done: {refused}.") from None


async def _with_desk(
    settings: Settings, tenant: str, dsn: str, token_file: Path | None, work: Callable[[At], Awaitable[None]]
) -> None:
    from gateway.shredding_desk import open_shredding

    async with open_shredding(settings, tenant, dsn, token_file) as desk:
        await work(At(settings, tenant, desk))
