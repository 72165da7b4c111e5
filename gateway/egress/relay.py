"""Mail from the CRM to people: resolved, rendered for each recipient alone, recorded, and handed to the smart host.

A pass-through without a queue of its own: the CRM hears 250 only when every recipient's mail was accepted by the smart
host; else it hears 451 and its own queue, which holds surrogates, tries again. Who got the mail already is remembered
as a keyed digest, so that a retry mails nobody twice. Nothing of a mail is written to disk or to a log. Whatever fails
(vault, keys, trail, policy, smart host) ends in 451, and nothing is sent in clear that was not recorded before.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import Enum
from typing import Protocol, TypeVar

import structlog

from audit.entry import AuditEntry
from gateway.body.limits import Limits
from gateway.collaborators import AuditTrail
from gateway.egress.judge import Counts, Judge
from gateway.egress.letter import DROPPED, Fields, Letter, LetterUnreadable, OutsideLinks
from gateway.egress.recipient import Recipient, Standing
from gateway.egress.scanning import Scans
from gateway.egress.smarthost import DeliveryFailed, DeliveryRefused, Line, Target

DELIVERED_FOR = timedelta(days=7)  # longer than mail queues try (RFC 5321, section 4.5.4.1: 4 to 5 days)
COLLABORATOR_S = 10.0
SEND_S = 600.0  # backstop over the smart host's own limits (RFC 5321, section 4.5.3.2.6: ten minutes)
HOPS = 50  # RFC 5321, section 6.3: loops are found by counting
OPERATION = "egress.smtp"
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Fate(Enum):
    """What became of the mail to one recipient."""

    SENT = "sent"
    KNOWN = "sent-before"
    REFUSED = "refused"
    LATER = "later"


class Deliveries(Protocol):
    """gateway.egress.store.EgressStore."""

    async def delivered(self, tenant: str, digests: Collection[bytes], now: datetime) -> set[bytes]:
        """Those that are known."""

    async def note(self, tenant: str, digests: Collection[bytes], until: datetime) -> None:
        """Remember."""

    async def forget(self, tenant: str, digests: Collection[bytes]) -> None:
        """Forget."""


@dataclass(slots=True)
class Posting:
    """One message on its way: whose it is, from where, and the mail itself as the CRM sent it."""

    tenant: str
    exchange: str
    client: str
    sender: str = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Marks:
    """Digests of one recipient's mail under every live key, the current key first; see `Relay._marks`."""

    by_id: tuple[bytes, ...]
    by_content: tuple[bytes, ...]


class Relay:
    """Delivers messages of one tenant; all collaborators are bounded in time.

    keys: live secrets for digests; bounce: envelope sender to use instead of the CRM's.
    """

    def __init__(
        self,
        judge: Judge,
        deliveries: Deliveries,
        audit: AuditTrail,
        target: Target,
        scanner: Scans,
        keys: Callable[[], Awaitable[Sequence[bytes]]],
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        limits: Limits,
        bounce: str = "",
        hostname: str = "crmgate",
        collaborator_s: float = COLLABORATOR_S,
        send_s: float = SEND_S,
    ) -> None:
        self._judge, self._deliveries, self._audit, self._target = judge, deliveries, audit, target
        self._scanner, self._keys, self._clock, self._new_id, self._limits = scanner, keys, clock, new_id, limits
        self._bounce, self._hostname = bounce, hostname
        self._collaborator_s, self._send_s = collaborator_s, send_s
        self._memory: dict[bytes, datetime] = {}  # deliveries the store could not note

    async def deliver(self, posting: Posting, recipients: Sequence[Recipient]) -> list[Fate]:
        """Hand the mail to the smart host for each recipient; raises LetterUnreadable when it is none."""
        letter = Letter(posting.content, self._limits)
        if letter.hops > HOPS:
            raise LetterUnreadable("a mail that goes round in circles")
        found = letter.surrogates(OutsideLinks(self._scanner))
        try:
            marks = await self._within(self._marks(posting, letter, recipients))
        except Exception as fault:  # whatever it is: nothing has left, the CRM's queue keeps the mail
            log.error("egress-not-begun", exchange=posting.exchange, fault=type(fault).__name__)
            return [Fate.LATER] * len(recipients)
        fates: list[Fate] = []
        async with self._target.open() as line:
            for recipient, mark in zip(recipients, marks, strict=True):
                fates.append(await self._one(posting, recipient, mark, found, line))
        await self._close(posting, marks, fates)
        return fates

    async def _one(
        self, posting: Posting, recipient: Recipient, mark: _Marks, found: Collection[str], line: Line
    ) -> Fate:
        """One recipient's mail; whatever fails for him says LATER."""
        try:
            now = self._clock()
            if await self._has_it(posting, mark, now):
                await self._record(posting, recipient, "outcome", Fate.KNOWN.value, 250, {})
                await self._remember(posting, mark)
                return Fate.KNOWN
            counts: Counts = {}
            show = await self._within(self._judge.judge(posting.tenant, recipient, found, counts))
            letter = Letter(posting.content, self._limits)
            letter.render(OutsideLinks(self._scanner), show)
            letter.change_fields(lambda fields: self._stamped(fields, posting, now))
            content = letter.encode()
            await self._record(posting, recipient, "decision", "", 0, counts)
        except LetterUnreadable:
            return Fate.REFUSED
        except Exception as fault:  # a collaborator that errs, hangs or answers nonsense: nothing leaves
            log.error("egress-held", exchange=posting.exchange, fault=type(fault).__name__)
            return Fate.LATER
        return await self._send(posting, recipient, mark, line, content)

    async def _has_it(self, posting: Posting, mark: _Marks, now: datetime) -> bool:
        """Whether this recipient got this very mail before."""
        if any(self._memory.get(one, now) > now for one in mark.by_id):
            return True
        known = await self._within(self._deliveries.delivered(posting.tenant, [*mark.by_id, *mark.by_content], now))
        if not isinstance(known, set):
            raise TypeError("deliveries")
        return bool(known)

    async def _send(self, posting: Posting, recipient: Recipient, mark: _Marks, line: Line, content: bytes) -> Fate:
        try:
            async with asyncio.timeout(self._send_s):
                status = await line.send(self._bounce or posting.sender, recipient.address, content)
            if not isinstance(status, int) or not 200 <= status <= 299:
                raise TypeError("smart host")
        except DeliveryRefused as refused:
            await self._outcome(posting, recipient, "smart-host-refused", refused.status)
            return Fate.REFUSED
        except DeliveryFailed as failed:
            await self._outcome(posting, recipient, failed.reason, 451)
            return Fate.LATER
        except Exception as fault:
            log.error("egress-smart-host", exchange=posting.exchange, fault=type(fault).__name__)
            return Fate.LATER
        await self._remember(posting, mark)
        await self._outcome(posting, recipient, Fate.SENT.value, status)
        return Fate.SENT

    async def _remember(self, posting: Posting, mark: _Marks) -> None:
        """The mail is out: whatever happens now, this process will not send it again."""
        until = self._clock() + DELIVERED_FOR
        self._memory = {one: at for one, at in self._memory.items() if at > self._clock()}
        self._memory |= dict.fromkeys(mark.by_id, until)
        try:
            await self._within(self._deliveries.note(posting.tenant, [mark.by_id[0], mark.by_content[0]], until))
            for one in mark.by_id:
                self._memory.pop(one, None)
        except Exception as fault:
            log.error("egress-delivery-not-noted", exchange=posting.exchange, fault=type(fault).__name__)

    async def _close(self, posting: Posting, marks: Sequence[_Marks], fates: Sequence[Fate]) -> None:
        """When everybody has it, the CRM hears 250 and may send the same words again: only its own id stops that."""
        if any(fate not in (Fate.SENT, Fate.KNOWN) for fate in fates):
            return
        try:
            content = [one for mark in marks for one in mark.by_content]
            await self._within(self._deliveries.forget(posting.tenant, content))
        except Exception as fault:
            log.error("egress-delivery-not-closed", exchange=posting.exchange, fault=type(fault).__name__)

    async def _marks(self, posting: Posting, letter: Letter, recipients: Sequence[Recipient]) -> list[_Marks]:
        """Keyed digests of (mail, recipient).

        by_id also takes in the Message-ID and holds for days: the same mail submitted once more. by_content does
        without, because many CRMs give a retry a new id, and is forgotten as soon as the whole message is delivered.
        """
        keys = await self._keys()
        if not keys or not all(isinstance(key, bytes) and len(key) >= 16 for key in keys):
            raise TypeError("keys")
        content = hashlib.sha256()
        for piece in letter.content():
            content.update(len(piece).to_bytes(8, "big") + piece)
        body, own = content.digest(), hashlib.sha256(letter.message_id.encode("utf-8", "surrogateescape")).digest()

        def digests(label: bytes, recipient: Recipient) -> tuple[bytes, ...]:
            return tuple(hmac.digest(key, label + body + recipient.key.encode(), "sha256") for key in keys)

        return [_Marks(digests(b"id" + own, one), digests(b"content", one)) for one in recipients]

    def _stamped(self, fields: Fields, posting: Posting, now: datetime) -> Fields:
        """Without what is nobody else's business, with a trace line (RFC 5321, section 4.4)."""
        kept = [(name, value) for name, value in fields if name.lower() not in DROPPED]
        trace = f"by {self._hostname} (crmgate) id {posting.exchange};\r\n {format_datetime(now)}"
        return [("Received", trace), *kept]

    async def _record(
        self, posting: Posting, recipient: Recipient, kind: str, reason: str, status: int, counts: Counts
    ) -> None:
        """Into the trail, durable before anything leaves."""
        shown: dict[str, dict[str, dict[str, int]]] = {}
        for (entity, name, record, form), count in counts.items():
            shown.setdefault(f"{entity}.{name}", {}).setdefault(record, {})[form] = count
        entity, record = next(iter(recipient.records), ("", ""))
        entry = AuditEntry(
            at=self._clock(),
            client=posting.client,
            crm_user=recipient.crm_user or "",
            entity=entity,
            exchange=posting.exchange,
            fields={"target": self._target.host, "detail": recipient.standing.value}
            | ({"shown": shown} if shown else {}),
            id=self._new_id(),
            kind=kind,
            method="SMTP",
            operation=OPERATION,
            path_shape=OPERATION,
            policy=recipient.view.policy_version if recipient.view is not None else "",
            reason=reason or ("recipient-own" if recipient.standing is Standing.PERSON else recipient.standing.value),
            record=record,
            status=status,
            tenant=posting.tenant,
        )
        index = await self._within(self._audit.append(entry))
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise TypeError("audit")

    async def _outcome(self, posting: Posting, recipient: Recipient, reason: str, status: int) -> None:
        """What became of it; the decision is in the trail already, so a trail that is away now loses no clear value."""
        try:
            await self._record(posting, recipient, "outcome", reason, status, {})
        except Exception as fault:
            log.error("egress-outcome-not-recorded", exchange=posting.exchange, fault=type(fault).__name__)

    async def _within(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(self._collaborator_s):
            return await work
