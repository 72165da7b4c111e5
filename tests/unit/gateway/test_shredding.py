"""Orders to erase: noted first, finished after a kill, certified only once no copy of the person store opens them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.entry import AuditEntry
from audit.note import Signer, ensure_signer
from gateway.database import Pool
from gateway.digits_left import DigitsLeft
from gateway.key_step import record_name
from gateway.protect.store import ProtectStore, Row
from gateway.shredding import OrderRefused, Shredding, kept_erased
from gateway.shredding_store import ShreddingStore
from kms.destruction import Person
from kms.digit_store import DigitStore
from kms.epoch_turn import Turned
from kms.provider import KeysUnavailable
from kms.shredding import Erased

T = "acme"
BY = Person("u-1", "sun")
START = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


@dataclass
class Keys:
    """What destroys and turns, without keys. carried: epochs that a turn begun before leaves the order in."""

    epoch: int = 1
    erased: list[tuple[str, str]] = field(default_factory=list)
    again_calls: int = 0
    turns: int = 0
    broken: bool = False

    async def erase(self, tenant: str, records: Any) -> Erased:
        if self.broken:
            raise KeysUnavailable("person-store", "away")
        self.erased += records
        return Erased((b"h" * 16,), 1, 2, 3, 4, 5, 6, 7, 2)

    async def again(self, tenant: str) -> int:
        self.again_calls += 1
        return 0

    async def current(self) -> int:
        return self.epoch

    async def run(self, tenant: str, progress: Callable[[int], None] = lambda _: None) -> Turned:
        self.turns += 1
        self.epoch += 1
        return Turned(self.epoch, 7, START + timedelta(hours=self.turns))


class Trail:
    """Entries in memory."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def append(self, entry: AuditEntry) -> int:
        self.entries.append(entry)
        return len(self.entries)


@dataclass
class Site:
    """The parts."""

    keys: Keys
    trail: Trail
    signer: Signer
    protect: ProtectStore
    digits: DigitStore
    shredding: Shredding

    @property
    def steps(self) -> list[str]:
        return [entry.reason for entry in self.trail.entries]


@pytest.fixture
def site(pool: Pool, tmp_path: Path) -> Site:
    keys, trail, protect, digits = Keys(), Trail(), ProtectStore(pool), DigitStore(pool)
    signer = ensure_signer(tmp_path / "audit.key")
    numbers = iter(range(1, 1000))
    shredding = Shredding(
        T,
        keys,  # type: ignore[arg-type]
        keys,  # type: ignore[arg-type]
        keys.current,
        ShreddingStore(pool),
        protect,
        trail=trail,
        signer=signer,
        keeper="OpenBao or Vault",
        backup_days=30,
        clock=lambda: START,
        new_id=lambda kind: f"{kind}-{next(numbers)}",
        digits=DigitsLeft(digits, [("contact", "card"), ("company", "siret")]).told,
    )
    return Site(keys, trail, signer, protect, digits, shredding)


async def test_an_order_is_noted_done_and_certified(site: Site) -> None:
    await site.digits.note(T, {("contact", "card", "12"): True, ("contact", "card", "13"): True})
    order = await site.shredding.erase([("contact", "12"), ("contact", "12"), ("company", "3/4")], "CASE-7", BY)
    assert order.records == ("contact/12", "company/3/4")
    assert site.keys.erased == [("contact", "12"), ("company", "3/4")]
    assert (order.counts["entries"], order.certificate, order.epoch) == (2, "", 1)
    turned, (done,) = await site.shredding.turn(BY)
    assert (turned.epoch, done.id) == (2, order.id)
    text = site.signer.verifier.open(done.certificate, record_name(T))
    for part in (
        "records: contact/12 company/3/4",
        "reason CASE-7",
        "by sun (u-1)",
        "epoch 1",
        "epoch closed: 2026-11-26T10:00:00Z",
        "unreadable in every copy from: 2026-12-26T10:00:00Z",
        "of before person keys, rows deleted: 4",
        "beside the CRM, rows deleted: 5; copies of the main database made before open none of them but 2 of before",
        "of before value keys: 6; they are under field keys",
        "that nothing opens any more: 7 at least",
        "numbers under FF1 that stay in the CRM: 1 (contact/12.card), and up to 1 where none is known"
        " (company/3/4.siret); no person's key reaches them; they end when they are overwritten in the CRM",
        "a guessed value can be confirmed",
    ):
        assert part in str(text)
    assert site.steps == ["requested", "destroyed", "turning", "certified", "turned"]
    assert all(entry.operation == "keys.person" for entry in site.trail.entries)


async def test_what_a_protect_run_kept_of_the_record_goes_too(site: Site) -> None:
    await site.protect.begin(T, "r-1", "interface", 0)
    for record in ("12", "13"):
        await site.protect.found(T, "r-1", 0, "contact", [record])
        await site.protect.keep(T, "r-1", [Row(0, "contact", record, "placed", kept=b"sealed")])
    await site.shredding.erase([("contact", "12")], "CASE-7", BY)
    kept = {row.record: row.kept for row in await site.protect.todo(T, "r-1", ["placed"])}
    assert kept == {"12": None, "13": b"sealed"}


async def test_an_order_that_failed_is_finished_by_the_next_turn(site: Site) -> None:
    site.keys.broken = True
    with pytest.raises(KeysUnavailable):
        await site.shredding.erase([("contact", "12")], "CASE-7", BY)
    assert site.steps == ["requested", "failed"]
    with pytest.raises(KeysUnavailable):
        await site.shredding.turn(BY)
    assert site.keys.turns == 0
    site.keys.broken = False
    _, (done,) = await site.shredding.turn(BY)
    assert done.certificate
    assert site.keys.erased == [("contact", "12")]


async def test_a_turn_begun_before_the_keys_were_destroyed_certifies_nothing(site: Site) -> None:
    site.keys.epoch = 5
    await site.shredding.erase([("contact", "12")], "CASE-7", BY)
    site.keys.epoch = 4  # what the turn that is unfinished ends with: the epoch the keys were destroyed in
    turned, (done,) = await site.shredding.turn(BY)
    assert (site.keys.turns, turned.epoch) == (2, 6)
    assert "epoch closed: 2026-11-26T11:00:00Z" in done.certificate


@pytest.mark.parametrize("reason", ["", "Zhang Wei", "a" * 81, "x\n", "-x", "张"])
async def test_a_reason_is_a_case_number(site: Site, reason: str) -> None:
    with pytest.raises(OrderRefused):
        await site.shredding.erase([("contact", "12")], reason, BY)
    assert (site.steps, site.keys.erased) == ([], [])


@pytest.mark.parametrize("records", [[], [("contact", "")], [("", "12")]])
async def test_an_order_names_records(site: Site, records: list[tuple[str, str]]) -> None:
    with pytest.raises(OrderRefused):
        await site.shredding.erase(records, "CASE-7", BY)


async def test_a_server_carries_tombstones_when_it_starts() -> None:
    import asyncio

    seen: list[str] = []
    done = asyncio.Event()

    class Away:
        async def erase(self, tenant: str, records: Any) -> Erased:
            raise AssertionError

        async def again(self, tenant: str) -> int:
            seen.append(tenant)
            if len(seen) == 2:
                done.set()
            if tenant == "one":
                raise KeysUnavailable("person-store", "away")
            return 0

    async with kept_erased(Away(), ["one", "two"]):
        await asyncio.wait_for(done.wait(), 20)
    assert seen == ["one", "two"]
