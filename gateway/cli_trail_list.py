"""`crmgate audit list` and `tags`: entries of the trail by what they are about, and what there is to ask for."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated

import orjson
import typer

from audit.archive import Archive, NoArchive
from audit.catalogue import catalogue, families, fits, is_pattern
from audit.query import Filters, StoredEntry, Tagged, entry_tag, tagged
from audit.sealed import AWAY, BROKEN, GONE, NOWHERE, OVER, SLOW
from gateway.cli_archive import archive_told_plainly
from gateway.cli_installed import installed
from gateway.cli_shell import UNUSABLE, FileOption, TenantOption, out, quit_with
from gateway.composition_archive import archive_at_hand
from gateway.database import Pool, open_pool
from gateway.named_people import ERASED, People
from gateway.person_keys import open_people
from gateway.settings import Settings
from gateway.trail_reading import LIST, given_in, named_filters, note_reading, told_filters
from policies.window import moment

_COLOURS: Mapping[str, str] = {"2": "green", "3": "cyan", "4": "yellow", "5": "red"}
_MOST = 10_000
_NONE = NoArchive()
LOST: Mapping[str, str] = {
    GONE: "the file is gone from the archive / 归档文件已不存在",
    BROKEN: "the file in the archive was changed / 归档文件内容与封存时不一致",
    AWAY: "the archive does not answer / 归档没有响应",
    SLOW: "the archive takes too long / 从归档读取耗时过长",
    NOWHERE: "sealed, and the settings name no archive / 已归档，但设置中没有指定归档位置",
    OVER: "the retention is over / 保留期已过",
}
"""Why a sealed entry cannot be shown."""

TagOption = Annotated[
    str, typer.Option("--tag", help="Only this event, or a family of events: access:*, crm:record:* (see: audit tags).")
]


def checked_tag(pattern: str) -> str:
    """The pattern, or an exit that says which there are; "" for any."""
    if pattern and not is_pattern(pattern):
        known = ", ".join(f"{one}:*" for one in families())
        raise quit_with(
            UNUSABLE,
            f"--tag: no event is called {pattern}; families are {known}. Every tag: crmgate audit tags"
            f" / 没有名为 {pattern} 的事件；类别有：{known}。全部标签：crmgate audit tags",
        )
    return pattern


def list_tags(
    tag: TagOption = "", *, chinese: Annotated[bool, typer.Option("--zh", help="Words in Chinese.")] = False
) -> None:
    """Show the catalogue of events: tag, weight, and what it means."""
    pattern = checked_tag(tag)
    for line in catalogue().values():
        if not pattern or fits(line.tag, pattern):
            words = line.chinese if chinese else line.english
            out.print(f"{line.tag:<44} {line.weight:<8} {words}", markup=False)


def list_trail(
    tag: TagOption = "",
    actor: Annotated[str, typer.Option(help="Only by this account, by its id.")] = "",
    operation: Annotated[str, typer.Option(help="Only about this operation.")] = "",
    entity: Annotated[str, typer.Option(help="Only about this kind of record.")] = "",
    record: Annotated[str, typer.Option(help="Only about this record, by the CRM's key.")] = "",
    since: Annotated[str, typer.Option(help="From when: 2026-01-01, or a time with its zone.")] = "",
    until: Annotated[str, typer.Option(help="Until when, not included.")] = "",
    most: Annotated[int, typer.Option("--lines", "-n", help="How many at most.", min=1, max=_MOST)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """List entries of the trail, newest first; that you asked is on record."""
    pattern = checked_tag(tag)
    filters = Filters(
        actor=actor, operation=operation, entity=entity, record=record,
        since=time_of(since, "--since"), until=time_of(until, "--until"),
    )  # fmt: skip
    with installed(config, tenant) as at, archive_told_plainly():
        found, known = asyncio.run(_find(at.settings, at.dsn, at.tenant, filters, pattern, most))
    for entry in found.entries:
        if as_json:
            out.print(entry.body.decode(), markup=False)
        else:
            out.print(line_of(entry, known), style=style_of(entry), markup=False)
    if not found.entries:
        out.print("Nothing fits. / 没有符合条件的条目。", style="dim", markup=False)
    for span, why in found.lost.items():
        told = f"Entries {span.first} to {span.last} / {span.first} 至 {span.last} 号记录: {LOST[why]}"
        out.print(told, style="yellow", markup=False)
    if found.further is not None and len(found.entries) < most:
        out.print(
            f"Older than entry {found.further} was not looked at: narrow it with --until."
            f" / 未查看 {found.further} 号之前的条目：请用 --until 缩小范围。",
            style="yellow", markup=False,
        )  # fmt: skip


async def _find(
    settings: Settings, dsn: str, tenant: str, filters: Filters, pattern: str, most: int
) -> tuple[Tagged, Mapping[str, str]]:
    async with AsyncExitStack() as stack:
        pool = await open_pool(dsn, max_size=2)
        stack.push_async_callback(pool.close)
        people = await stack.enter_async_context(open_people(settings, tenant, pool))
        return await find(pool, people, dsn, tenant, filters, pattern, most, archive_at_hand(settings, dsn))


async def find(
    pool: Pool,
    people: People,
    dsn: str,
    tenant: str,
    filters: Filters,
    pattern: str,
    most: int,
    archive: Archive = _NONE,
) -> tuple[Tagged, Mapping[str, str]]:
    """What fits, and whom the pseudonyms in it mean; that somebody asked is on record.

    Raises KeysUnavailable, StoreUnavailable, AuditUnavailable.
    """
    filters = await named_filters(people, tenant, filters)
    found = await tagged(pool, tenant, most, filters, pattern, archive=archive)
    given = given_in(filters) | {"tag": pattern}
    await note_reading(dsn, tenant, LIST, told_filters(given, found=bool(found.entries)), count=len(found.entries))
    return found, await people.told(tenant, {entry.record for entry in found.entries})


def time_of(text: str, option: str) -> datetime | None:
    """The time somebody typed for an option, None for none; exits for what is none."""
    if not text:
        return None
    found = moment(text)
    if found is None:
        told = f"{option}: {text} is no day (2026-12-31) and no time with its zone (2026-12-31T18:00+08:00)."
        raise quit_with(UNUSABLE, told)
    return datetime.fromtimestamp(found, UTC)


def style_of(entry: StoredEntry) -> str:
    """The colour of a line, by the status."""
    return _COLOURS.get(str(entry.status)[:1], "")


def line_of(entry: StoredEntry, people: Mapping[str, str]) -> str:
    """One entry as one line. people: whom pseudonyms mean."""
    told = orjson.loads(entry.body)
    who = told["actor_login"] or "-"
    written = f"{entry.entity}/{entry.record}" if entry.record else entry.entity
    thing = people.get(entry.record, written)
    if thing == ERASED:
        thing = f"{entry.entity} (erased person)"
    parts = [
        f"{entry.at:%Y-%m-%d %H:%M:%S}",
        entry_tag(entry),
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
