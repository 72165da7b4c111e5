"""The dry run: what protecting would find and do, in counts. It writes neither to the CRM nor to the vault."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.protect.change import Changer
from gateway.protect.judge import State
from gateway.protect.reading import CrmDriver, Reading
from gateway.protect.work import Trail
from policies.walk import Walk

BATCH = 25


@dataclass(slots=True)
class FieldCount:
    """One field of one entity. unfit: why → values; edges: values with white space around them, which the CRM drops
    when its own form is saved."""

    states: Counter[str] = field(default_factory=Counter)
    unfit: Counter[str] = field(default_factory=Counter)
    edges: int = 0


@dataclass(slots=True)
class Plan:
    """records: entity → how many; skipped: those that the profile leaves alone; writes: records that would be written;
    read_s: seconds one reading took; seconds: estimate of the whole run."""

    records: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    fields: dict[tuple[str, str], FieldCount] = field(default_factory=dict)
    writes: int = 0
    read_s: float = 0.0
    seconds: float = 0.0


async def make_plan(
    walk: Walk,
    driver: CrmDriver,
    changer: Changer,
    trail: Trail,
    rate: float,
    clock: Callable[[], float],
    seen: Callable[[int], None],
) -> Plan:
    """Walk through everything once. seen: told how many records were read; errors as CrmDriver says."""
    plan = Plan()
    began = clock()
    total = 0
    for entity in walk.entities:
        page: str | None = ""
        while page is not None:
            listed = await driver.page(entity, page)
            await trail("protect.read", entity.entity, "", {"count": len(listed.ids)})
            for record in listed.ids:
                reading = await driver.read(entity, record)
                total += 1
                seen(total)
                if reading is not None:
                    await _count(plan, walk, changer, reading)
            page = listed.following or None
    plan.read_s = (clock() - began) / max(total, 1)
    # A record is read for its names, read, read again before and after the write, and written.
    plan.seconds = total * plan.read_s + plan.writes * max(4 * plan.read_s, 1 / rate if rate > 0 else 0)
    return plan


async def _count(plan: Plan, walk: Walk, changer: Changer, reading: Reading) -> None:
    entity = reading.entity.entity
    plan.records[entity] += 1
    if reading.skipped:
        plan.skipped[entity] += 1
        return
    writes = False
    for name, (spec, one) in (await changer.judge([reading], look_up=True))[0].items():
        counted = plan.fields.setdefault((spec.entity, spec.name), FieldCount())
        counted.states[one.state.value] += 1
        if one.state is State.UNFIT:
            counted.unfit[one.why] += 1
        if one.state is State.CLEAR:
            writes = True
            text = reading.fields[name]
            counted.edges += walk.trims and text != text.strip()
    plan.writes += writes
