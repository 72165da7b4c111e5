"""The dialogue with the CRM that submits mail: recipients are judged one by one, the message as a whole.

The answers are what a mail queue understands: 250 everybody has it, 451 try again (nobody gets it twice), 5xx never.
They hold counts, never an address.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiosmtpd.smtp import SMTP, Envelope, Session

from gateway.egress.header import is_plain_address
from gateway.egress.letter import LetterUnreadable
from gateway.egress.listener import LATER, NULL_SENDER, Count, peer_address
from gateway.egress.recipient import Recipient, RecipientRefused, Recipients
from gateway.egress.relay import COLLABORATOR_S, Fate, Posting, Relay
from gateway.egress.scanning import Scans

_REFUSED = {
    "recipient-unknown": "550 5.1.1 nobody known under this address",
    "recipient-undeliverable": "550 5.1.3 the address of this person cannot receive mail",
    "recipient-not-allowed": "550 5.7.1 mail from the CRM goes to people in it, to staff, and to listed addresses only",
}
log = structlog.get_logger(__name__)


class Submission:
    """Handler of one relay (aiosmtpd's hooks)."""

    def __init__(
        self,
        tenant: str,
        recipients: Recipients,
        relay: Relay,
        scanner: Scans,
        *,
        new_id: Callable[[], str],
        count: Count,
        most: int,
        bounce: str = "",
        collaborator_s: float = COLLABORATOR_S,
    ) -> None:
        self._tenant, self._recipients, self._relay, self._scanner = tenant, recipients, relay, scanner
        self._new_id, self._count, self._most, self._bounce = new_id, count, most, bounce
        self._collaborator_s = collaborator_s

    async def handle_MAIL(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """The envelope sender: an address as it is, or the configured one instead."""
        if address and not is_plain_address(address):
            return "553 5.1.7 not an address"
        if not self._bounce and self._scanner.find(address.encode()):
            return "553 5.1.7 the sender is a person in the CRM; set egress.smtp.bounce_address"
        envelope.mail_from = address or NULL_SENDER
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender fine"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """One recipient; refused here where mail could never reach him."""
        if len(envelope.rcpt_tos) >= self._most:
            return "452 4.5.3 too many recipients"
        try:
            await self._find(address)
        except RecipientRefused as refused:
            self._count(peer_address(session), str(refused))
            return _REFUSED.get(str(refused), LATER)
        except Exception as fault:
            log.error("egress-recipient", fault=type(fault).__name__)
            return LATER
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient fine"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """The message: delivered to everybody before this answers, or the CRM keeps it."""
        content: Any = envelope.content
        if not isinstance(content, bytes):
            return LATER
        sender = "" if envelope.mail_from == NULL_SENDER else envelope.mail_from or ""
        posting = Posting(self._tenant, self._new_id(), peer_address(session), sender, content)
        try:
            found: dict[str, Recipient] = {}
            for address in envelope.rcpt_tos:
                recipient = await self._find(address)
                found.setdefault(recipient.key, recipient)
            fates = await self._relay.deliver(posting, list(found.values()))
        except LetterUnreadable:
            self._count(peer_address(session), "mail-unreadable")
            return "554 5.6.0 this message cannot be read for certain; it was not sent"
        except RecipientRefused:
            return "554 5.1.1 a recipient is gone; nothing was sent"
        except Exception as fault:
            log.error("egress-message", exchange=posting.exchange, fault=type(fault).__name__)
            return LATER
        return _said(fates)

    async def _find(self, address: str) -> Recipient:
        async with asyncio.timeout(self._collaborator_s):
            recipient = await self._recipients.find(self._tenant, address)
        if not isinstance(recipient, Recipient):
            raise TypeError("recipient")
        return recipient


def _said(fates: list[Fate]) -> str:
    later, refused = fates.count(Fate.LATER), fates.count(Fate.REFUSED)
    if later:
        return f"451 4.3.0 {later} of {len(fates)} recipients later; who has it will not get it twice"
    if refused:
        return f"554 5.3.0 refused for {refused} of {len(fates)} recipients"
    return f"250 2.0.0 delivered to {len(fates)}"
