"""`crmgate audit hold`: what may not be dropped from the archive, whatever retention says."""

import getpass
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from audit.cold.hold import Hold, HoldRefused
from audit.cold.hold_store import add_hold, holds, lift
from gateway.access.tokens import new_id
from gateway.accounts import utc_now
from gateway.cli_archive import Bench, run_archive
from gateway.cli_shell import PROBLEM, UNUSABLE, FileOption, TenantOption, out, quit_with
from gateway.named_people import NamedPeople
from gateway.person_keys import open_people
from kms.pseudonym import is_pseudonym
from policies.window import moment

hold_app = typer.Typer(help="Legal holds on the archive of the trail.", no_args_is_help=True)


@hold_app.command("set")
def set_hold(
    reason: Annotated[str, typer.Argument(help="Why, for whoever reads it in years.")],
    data_subject: Annotated[str, typer.Option(help="Only what is about this person, by pseudonym.")] = "",
    entity: Annotated[str, typer.Option(help="With --record: kind of record, as the profile names it.")] = "",
    record: Annotated[str, typer.Option(help="Only what is about this record, by the CRM's key; with --entity.")] = "",
    actor: Annotated[str, typer.Option(help="Only what this account did, by its id.")] = "",
    since: Annotated[str, typer.Option(help="From when: 2026-01-01, or a time with its zone.")] = "",
    until: Annotated[str, typer.Option(help="Until when, not included.")] = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Hold everything, or what fits all that is given; nothing held is dropped."""
    if record and not entity:
        raise quit_with(UNUSABLE, "--record needs --entity: which kind of record it is, such as contact.")
    hold = Hold(
        new_id("h", secrets.token_bytes), reason, getpass.getuser(), utc_now(), data_subject, entity, record, actor,
        _time(since, "--since"), _time(until, "--until"),
    )  # fmt: skip

    async def work(bench: Bench) -> None:
        async with open_people(bench.settings, bench.tenant, bench.pool) as people:
            named = await named_holds(people, bench.tenant, hold)
        for one in named:
            await bench.record(bench.tenant, "audit.hold.set", one.id, {"filters": ",".join(sorted(one.names))})
            try:
                async with bench.pool.of(bench.tenant) as connection:
                    await add_hold(connection, bench.tenant, one)
            except HoldRefused as refused:
                raise quit_with(UNUSABLE, str(refused)) from None
            out.print(f"hold {one.id} is set.", markup=False)

    run_archive(config, tenant, work)


async def named_holds(people: NamedPeople, tenant: str, hold: Hold) -> list[Hold]:
    """A hold for each name that a person's record has in the trail; the CRM's key of a person is kept in none of them.

    Raises KeysUnavailable, StoreUnavailable.
    """
    if not (hold.record and people.holds_people(tenant, hold.entity)):
        return [hold]
    await people.name_of(tenant, hold.entity, hold.record)  # what is written from now on is held, too
    names = [one for one in await people.names_of(tenant, hold.entity, hold.record) if is_pseudonym(one)]
    ids = [hold.id, *(new_id("h", secrets.token_bytes) for _ in names[1:])]
    return [replace(hold, id=own, record=name) for own, name in zip(ids, names, strict=True)]


@hold_app.command("list")
def list_holds(
    lifted: Annotated[bool, typer.Option("--lifted", help="Those that were lifted, too.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Show the holds: who set them, when, why, and what they keep."""

    async def work(bench: Bench) -> None:
        async with bench.pool.of(bench.tenant) as connection:
            found = await holds(connection, bench.tenant, lifted=lifted)
        for one in found:
            out.print(_told(one), markup=False)
        if not found:
            out.print("There is no hold.", markup=False)

    run_archive(config, tenant, work)


@hold_app.command("lift")
def lift_hold(
    name: Annotated[str, typer.Argument(help="Id of the hold, as `hold list` shows it.")],
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Ask to lift a hold; the same command by somebody else lifts it."""

    async def work(bench: Bench) -> None:
        await bench.record(bench.tenant, "audit.hold.lift", name, {})
        try:
            async with bench.pool.of(bench.tenant) as connection:
                found = await lift(connection, bench.tenant, name, getpass.getuser(), utc_now())
        except HoldRefused as refused:
            raise quit_with(PROBLEM, str(refused)) from None
        if found.lifted_by is None:
            out.print(f"hold {name} stays until somebody else lifts it, too.", markup=False)
        else:
            out.print(f"hold {name} is lifted.", markup=False)

    run_archive(config, tenant, work)


def _told(one: Hold) -> str:
    what = [f"{name} {value}" for name, value in one.names.items()]
    what += [f"{name} {at:%Y-%m-%d %H:%M} UTC" for name, at in (("since", one.since), ("until", one.until)) if at]
    state = ""
    if one.lifted_at is not None:
        state = f"  lifted {one.lifted_at:%Y-%m-%d} by {one.lift_by} and {one.lifted_by}"
    elif one.lift_by is not None:
        state = f"  {one.lift_by} asks to lift it"
    return f"{one.id}  {one.set_at:%Y-%m-%d} by {one.set_by}: {one.reason}  [{', '.join(what) or 'everything'}]{state}"


def _time(text: str, option: str) -> datetime | None:
    if not text:
        return None
    found = moment(text)
    if found is None:
        told = f"{option}: {text} is no day (2026-12-31) and no time with its zone (2026-12-31T18:00+08:00)."
        raise quit_with(UNUSABLE, told)
    return datetime.fromtimestamp(found, UTC)
