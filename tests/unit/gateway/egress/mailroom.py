"""A relay over a real vault, with a smart host and a trail that only remember, and people to write to."""

import asyncio
import email
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import policy
from email.message import EmailMessage
from typing import Any

from audit.entry import AuditEntry, encode
from gateway.access.user import AppUser
from gateway.accounts import utc_now
from gateway.body.limits import Limits
from gateway.database import Pool
from gateway.egress.judge import Judgement
from gateway.egress.recipient import Recipient, Recipients
from gateway.egress.relay import Fate, Posting, Relay
from gateway.egress.store import EgressStore
from gateway.egress.submission import Submission
from kms.tokens import NewValue, Origin
from tests.unit.gateway.glue import NOW, TENANT, Glue

PATIENCE_S = 60.0  # a machine that is busy with other things makes no test fail
HASTE_S = 0.3  # for collaborators that hang
KEY = b"a key of the tests, thirty-two b"
CRM = "crm@company.example"


@dataclass
class Trail:
    """Keeps entries, in order with what was sent."""

    events: list[Any]
    entries: list[AuditEntry] = field(default_factory=list)

    async def append(self, entry: AuditEntry) -> int:
        encode(entry)
        self.entries.append(entry)
        self.events.append(("audit", entry.kind, entry.reason))
        return len(self.entries) - 1


@dataclass
class Sink:
    """A smart host: answers by address, keeps what it took."""

    events: list[Any]
    host: str = "mail.example"
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)
    answers: dict[str, list[Exception]] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Sink"]:
        yield self

    async def send(self, sender: str, address: str, content: bytes) -> int:
        waiting = self.answers.get(address)
        if waiting:
            raise waiting.pop(0)
        self.sent.append((sender, address, content))
        self.events.append(("sent", address))
        return 250

    def letters(self, address: str) -> list[EmailMessage]:
        """What somebody got, opened."""
        return [
            email.message_from_bytes(content, policy=policy.default)  # type: ignore[misc]
            for _, to, content in self.sent
            if to == address
        ]


class Desk:
    """Staff by login."""

    def __init__(self, *users: AppUser) -> None:
        self.users = {user.login: user for user in users}

    async def find(self, tenant: str, login: str) -> AppUser | None:
        user = self.users.get(login)
        return None if user is None or user.disabled else user


def colleague(login: str, role: str, crm_user: str = "", *, disabled: bool = False) -> AppUser:
    return AppUser(f"u-{login}", TENANT, login, login, (role,), crm_user, "", disabled, True, True, NOW)


class Mailroom:
    """Everything between a CRM that submits and a smart host that takes."""

    def __init__(
        self, glue: Glue, pool: Pool, *, rest: timedelta = timedelta(0), patience_s: float = PATIENCE_S, **changed: Any
    ) -> None:
        self.glue = glue
        self.events: list[Any] = []
        self.trail, self.sink = Trail(self.events), Sink(self.events)
        self.store = EgressStore(pool)
        self.desk = Desk(
            colleague("wang", "manager", "9"),
            colleague("lin", "sales", "7"),
            colleague("old", "manager", disabled=True),
        )
        self.counted: list[str] = []
        self.clock: Callable[[], datetime] = utc_now
        self._ids = 0
        self.recipients = Recipients(
            glue.vault,
            self.store,
            self.desk,
            lambda tenant, roles: glue.bundle.view(tenant, roles),
            glue.scanner,
            staff_domains=("company.example",),
            allowed=("partner@friends.example", "@list.example"),
        )
        parts: dict[str, Any] = {
            "judge": Judgement(glue.vault, self.store, glue.records, utc_now, rest),
            "deliveries": self.store,
            "audit": self.trail,
            "target": self.sink,
            "keys": self.keys,
        } | changed
        self.relay = Relay(
            parts["judge"],
            parts["deliveries"],
            parts["audit"],
            parts["target"],
            glue.scanner,
            parts["keys"],
            clock=utc_now,
            new_id=self.new_id,
            limits=Limits(),
            collaborator_s=patience_s,
            send_s=patience_s,
        )
        self.submission = Submission(
            TENANT,
            self.recipients,
            self.relay,
            glue.scanner,
            new_id=self.new_id,
            count=lambda _client, reason: self.counted.append(reason),
            most=10,
            collaborator_s=patience_s,
        )

    async def keys(self) -> Sequence[bytes]:
        return [KEY]

    def new_id(self) -> str:
        self._ids += 1
        return f"m{self._ids}"

    async def person(self, record: str, **values: str) -> dict[str, str]:
        """A contact as the CRM holds it: surrogates by field."""
        kinds = {"email": "email", "phone": "phone", "last_name": "name", "address": "address"}
        new = [NewValue(kinds[name], value, Origin("contact", name, record)) for name, value in values.items()]
        return dict(zip(values, await self.glue.vault.tokenise(TENANT, new, f"cell-{record}"), strict=True))

    async def post(self, content: bytes, *to: str, sender: str = CRM) -> list[Fate]:
        """Submit one message."""
        found: list[Recipient] = [await self.recipients.find(TENANT, one) for one in to]
        return await self.relay.deliver(Posting(TENANT, self.new_id(), "127.0.0.1", sender, content), found)

    async def age(self, pool: Pool, surrogate: str, by: timedelta) -> None:
        """Make a value's stay in its records older."""
        async with pool.connection() as db:
            await db.execute(
                "UPDATE vault_origin SET created_at = created_at - %s WHERE tenant = %s AND surrogate = %s",
                (by, TENANT, surrogate),
            )


def mail(subject: str, text: str, to: str, **fields: str) -> EmailMessage:
    """A mail as Django writes it."""
    made = EmailMessage()
    made["Subject"] = subject
    made["From"] = CRM
    made["To"] = to
    made["Message-ID"] = "<1.a@crm.example>"
    for name, value in fields.items():
        made[name.replace("_", "-")] = value
    made.set_content(text)
    return made


def text_of(letter: EmailMessage, kind: str = "plain") -> str:
    """The readable body."""
    body = letter.get_body((kind,))
    assert body is not None
    return str(body.get_content())


class Wayward:
    """A collaborator whose every method raises, hangs or answers nonsense."""

    host = "mail.example"

    def __init__(self, way: str) -> None:
        self._way = way

    def __getattr__(self, name: str) -> Any:
        async def call(*_: object, **__: object) -> object:
            if self._way == "raise":
                raise RuntimeError("zhang@example.com")
            if self._way == "hang":
                await asyncio.sleep(3600)
            return "nonsense"

        return call

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Wayward"]:
        yield self

    async def __call__(self) -> object:
        return await self.__getattr__("keys")()


def values_of(entries: Collection[AuditEntry]) -> str:
    """All that the trail says."""
    return "\n".join(encode(entry).decode() for entry in entries)
