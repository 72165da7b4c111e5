"""A desk on a real database, with real keys, a real vault and a policy that lets somebody reveal masked phones."""

import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from audit.entry import AuditEntry, encode
from audit.log import AuditUnavailable
from gateway.access.tokens import new_id
from gateway.database import Pool
from gateway.disclosure.config import RevealSettings
from gateway.disclosure.desk import Asking, Desk, Given
from gateway.disclosure.handle import Mask
from gateway.disclosure.right import PolicyRight
from gateway.disclosure.sealing import DisclosureSealer
from gateway.disclosure.store import LedgerStore
from gateway.exchange import Principal
from gateway.guess_store import GuessStore
from gateway.records import Records
from gateway.store import RecordStore
from kms.envelope import DEFAULT
from kms.keyring import Keyring
from kms.pseudonym import is_pseudonym
from kms.store import Store
from kms.tokens import NewValue, Origin, SurrogateVault
from policies.enforcer import Bundle, Enforcer
from policies.operation import FieldSpec
from policies.taxonomy import Kind
from tests.unit.gateway.access.world import Access, Clock, Enrolled, build, enrol_in
from tests.unit.gateway.glue import SECRET, FastProvider

PHONE = "13912345678"
POLICY = """
p, sales, *, field:*.*#phone, masked, own
p, sales, *, field:*.*#phone, reveal, own
p, sales, *, field:*.*#email, masked, own
p, sales, *, op:*, *, any
"""
FIELDS = (FieldSpec("contact", "phone", Kind.PHONE, 40), FieldSpec("contact", "email", Kind.EMAIL, 100))


class Trail:
    """Keeps what is appended, as bytes would be; `away` makes it refuse from the entry with that number on."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.away = 1_000

    async def append(self, entry: AuditEntry) -> int:
        encode(entry)
        if len(self.entries) >= self.away:
            raise AuditUnavailable("away")
        self.entries.append(entry)
        return len(self.entries)

    @property
    def reasons(self) -> list[str]:
        return [one.reason for one in self.entries]


@dataclass
class Room:
    """A desk and somebody at it. mask: the phone of a contact that is theirs."""

    desk: Desk
    access: Access
    clock: Clock
    trail: Trail
    li: Enrolled
    principal: Principal
    mask: Mask
    bundle: Bundle

    def asking(self, *, step_up: bool = False, **changed: object) -> Asking:
        who = replace(self.principal, **changed)  # type: ignore[arg-type]
        return Asking(who, "192.0.2.7", "page", "x-1", step_up)

    def given(self, code: str = "") -> Given:
        return Given("contact", "", code)


@asynccontextmanager
async def sealer_over(pool: Pool, keyring_path: Path) -> AsyncIterator[DisclosureSealer]:
    """The real sealer over real keys."""
    keyring = Keyring(FastProvider(keyring_path, SECRET), Store(pool), clock=time.monotonic)
    yield DisclosureSealer(keyring, secrets.token_bytes, lambda _: DEFAULT)


class Book:
    """Names people without keys; `erased`: records nothing leads to any more."""

    def __init__(self) -> None:
        self.erased: set[str] = set()

    async def name_of(self, tenant: str, entity: str, record: str) -> str:
        return self.pseudonym(record)

    async def names_of(self, tenant: str, entity: str, record: str) -> list[str]:
        return [record, *([self.pseudonym(record)] if record not in self.erased else [])]

    async def told(self, tenant: str, names: Iterable[str]) -> Mapping[str, str]:
        told = {name: name[3:].lstrip("A") for name in names if is_pseudonym(name)}
        return {name: "" if record in self.erased else f"contact/{record}" for name, record in told.items()}

    def pseudonym(self, record: str) -> str:
        return "ds_" + record.rjust(22, "A")


@asynccontextmanager
async def open_room(pool: Pool, keyring_path: Path, settings: RevealSettings | None = None) -> AsyncIterator[Room]:
    """One node; several over the same database and keyring are nodes of one gateway."""
    clock, trail = Clock(), Trail()
    access = build(pool, clock)
    keyring = Keyring(FastProvider(keyring_path, SECRET), Store(pool), clock=time.monotonic)
    vault = SurrogateVault(pool, keyring)
    await vault.start("t1")
    bundle = Enforcer(FIELDS).load(POLICY)
    records = Records(RecordStore(pool), max_age=clock.now - clock.now.replace(year=clock.now.year - 1))
    existing = await access.store.factors("t1", key="li.wei")
    li = await enrol_in(access, "li.wei", "sales") if existing is None else Enrolled(existing.user, "", "")
    surrogate, _ = await vault.tokenise(
        "t1",
        [
            NewValue("phone", PHONE, Origin("contact", "phone", "7")),
            NewValue("email", "a.b@example.org", Origin("contact", "email", "7")),
        ],
        "cell-1",
    )
    await records.note("t1", [("contact", "7")], "crm-li", clock())
    people = Book()
    desk = Desk(
        settings={"t1": settings or RevealSettings(enabled=True)},
        view=bundle.view,
        right=PolicyRight(),
        vault=vault,
        records=records,
        sessions=access.sessions,
        sign_in=access.sign_in,
        gate=access.gate,
        counts=GuessStore(pool),
        trail=trail,
        ledger=LedgerStore(pool),
        sealer=DisclosureSealer(keyring, secrets.token_bytes, lambda _: DEFAULT),
        people=people,
        clock=clock,
        new_id=lambda prefix: new_id(prefix, secrets.token_bytes),
    )
    principal = Principal(li.user.id, "li.wei", ("sales",), "t1", "s-1", crm_user="crm-li")
    try:
        yield Room(desk, access, clock, trail, li, principal, Mask(surrogate, "phone", "contact", "phone", "7"), bundle)
    finally:
        await vault.close()
