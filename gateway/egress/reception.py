"""The dialogue with the company's mail server that hands in mail for the CRM's mailbox (inbound).

A message goes on only with its personal values replaced, or not at all: whatever fails is 451, and the mail server,
which holds the clear mail anyway, tries again. Bounces of mail the relay sent come back this way too, and the clear
addresses in them become the surrogates the CRM knows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import datetime
from typing import Any, TypeVar

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from audit.entry import AuditEntry
from gateway.body.limits import Limits
from gateway.collaborators import AuditTrail
from gateway.egress.header import is_plain_address
from gateway.egress.intake import Intake, Vault
from gateway.egress.letter import Fields, Letter, LetterUnreadable, open_whole
from gateway.egress.listener import LATER, NULL_SENDER, Count, peer_address
from gateway.egress.relay import COLLABORATOR_S, HOPS, SEND_S
from gateway.egress.scanning import Scans
from gateway.egress.smarthost import DeliveryFailed, DeliveryRefused, Target

OPERATION = "ingress.smtp"
# Over what is changed now; and what our own mail server notes about the clear envelope.
DROPPED = frozenset({"dkim-signature", "domainkey-signature", "return-path", "delivered-to", "x-original-to"})
# A signature is worth less than what a signed mail says of people.
SEALED = frozenset({"multipart/encrypted"})
T = TypeVar("T")
log = structlog.get_logger(__name__)


class Reception:
    """Handler of the inbound listener; mailboxes and own_domains in lower case."""

    def __init__(
        self,
        tenant: str,
        vault: Vault,
        scanner: Scans,
        audit: AuditTrail,
        target: Target,
        *,
        mailboxes: Collection[str],
        own_domains: Collection[str],
        limits: Limits,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        count: Count,
        collaborator_s: float = COLLABORATOR_S,
        send_s: float = SEND_S,
    ) -> None:
        self._tenant, self._vault, self._scanner, self._audit, self._target = tenant, vault, scanner, audit, target
        self._mailboxes = frozenset(one.lower() for one in mailboxes)
        self._own, self._limits, self._clock, self._new_id, self._count = own_domains, limits, clock, new_id, count
        self._collaborator_s, self._send_s = collaborator_s, send_s

    async def handle_MAIL(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Whoever writes to the CRM; nobody, for bounces."""
        if address and not is_plain_address(address):
            return "553 5.1.7 not an address"
        envelope.mail_from = address or NULL_SENDER
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender fine"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """One of the CRM's mailboxes, one a message: so the answer to the message is about that mailbox alone."""
        if address.lower() not in self._mailboxes:
            self._count(peer_address(session), "mailbox-unknown")
            return "550 5.1.1 no mailbox of the CRM"
        if envelope.rcpt_tos:
            return "452 4.5.3 one mailbox at a time"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The message, protected, handed to the mailbox's server before this answers."""
        content: Any = envelope.content
        exchange = self._new_id()
        try:
            if not isinstance(content, bytes):
                return LATER
            return await self._pass_on(exchange, peer_address(session), envelope, content)
        except LetterUnreadable:
            self._count(peer_address(session), "mail-unreadable")
            return "554 5.6.0 this message cannot be read for certain"
        except DeliveryRefused:
            return "554 5.3.0 refused by the mailbox"
        except DeliveryFailed:
            return LATER
        except Exception as fault:
            log.error("ingress-message", exchange=exchange, fault=type(fault).__name__)
            return LATER

    async def _pass_on(self, exchange: str, client: str, envelope: Envelope, content: bytes) -> str:
        letter, again = (Letter(content, self._limits, SEALED, open_whole) for _ in range(2))
        if letter.hops > HOPS:
            raise LetterUnreadable("a mail that goes round in circles")
        for one in (letter, again):
            one.change_fields(_without)
        intake = Intake(self._vault, self._tenant, "mail", self._own)
        sender = "" if envelope.mail_from == NULL_SENDER else envelope.mail_from or ""
        if sender:
            intake.address(sender)
        await self._within(intake.protect_letter(letter, again, self._scanner, exchange))
        sender = intake.address(sender) if sender else ""
        protected = again.encode()
        await self._record(exchange, client, "decision", 0, intake)
        async with asyncio.timeout(self._send_s), self._target.open() as line:
            status = await line.send(sender, envelope.rcpt_tos[0], protected)
        if not isinstance(status, int) or not 200 <= status <= 299:
            raise TypeError("mailbox")
        try:
            await self._record(exchange, client, "outcome", status, intake)
        except Exception as fault:  # the decision is there; the mailbox has the mail
            log.error("ingress-outcome-not-recorded", exchange=exchange, fault=type(fault).__name__)
        return "250 2.0.0 taken"

    async def _record(self, exchange: str, client: str, kind: str, status: int, intake: Intake) -> None:
        entry = AuditEntry(
            at=self._clock(),
            client=client,
            exchange=exchange,
            fields={"target": self._target.host, "tokenised": dict(intake.counts)},
            id=self._new_id(),
            kind=kind,
            method="SMTP",
            operation=OPERATION,
            path_shape=OPERATION,
            reason="inbound-mail",
            status=status,
            tenant=self._tenant,
        )
        index = await self._within(self._audit.append(entry))
        if not isinstance(index, int) or isinstance(index, bool) or index < 0:
            raise TypeError("audit")

    async def _within(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(self._collaborator_s):
            return await work


def _without(fields: Fields) -> Fields:
    return [(name, value) for name, value in fields if name.lower() not in DROPPED]
