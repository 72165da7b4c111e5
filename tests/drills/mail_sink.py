"""A mail server that keeps what it takes, on a port of 127.0.0.1, and answers as it is told."""

import email
import threading
from dataclasses import dataclass, field
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Taken:
    """One mail somebody got."""

    sender: str
    to: tuple[str, ...]
    raw: bytes

    @property
    def letter(self) -> EmailMessage:
        """The mail, opened."""
        return email.message_from_bytes(self.raw, policy=policy.default)  # type: ignore[return-value]

    def text(self, kind: str = "plain") -> str:
        """What is read of it."""
        body = self.letter.get_body((kind,))
        assert body is not None
        return str(body.get_content())


@dataclass
class MailSink:
    """The server; `answers`: address → what to say to the next mails for it instead of 250."""

    port: int
    taken: list[Taken] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)
    _controller: Controller | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, **options: Any) -> None:
        """Listen."""
        self._controller = Controller(self, "127.0.0.1", self.port, **options)
        self._controller.start()

    def stop(self) -> None:
        """Stop listening; what was taken stays."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def to(self, address: str) -> list[Taken]:
        """Mails somebody got, in order."""
        with self._lock:
            return [one for one in self.taken if address in one.to]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep one mail, or say what was asked for."""
        assert isinstance(envelope.content, bytes)
        for address in envelope.rcpt_tos:
            waiting = self.answers.get(address)
            if waiting:
                return waiting.pop(0)
        with self._lock:
            self.taken.append(Taken(envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.content))
        return "250 2.0.0 taken"


MAILBOX = "crm@company.example"


def settings_for(relay: int, sink: int, inbound: int, proxy: int, service: int, leads: int) -> str:
    """Every section of [egress.…]: a mail sink and a service on this machine stand for the world."""
    lines = {
        "listen": f'"127.0.0.1:{relay}"',
        "smart_host": f'"127.0.0.1:{sink}"',
        "smart_host_tls": '"off"',
        "staff_domains": '["company.example"]',
    }
    back = {
        "listen": f'"127.0.0.1:{inbound}"',
        "deliver_to": f'"127.0.0.1:{sink}"',
        "deliver_tls": '"off"',
        "own_domains": '["company.example"]',
        "mailboxes": f'["{MAILBOX}"]',
    }
    calls = {"listen": f'"127.0.0.1:{proxy}"'}
    sms = {
        "name": '"sms"',
        "url": f'"http://127.0.0.1:{service}"',
        "kinds": '["phone", "name"]',
        "recipient": '"to"',
        "paths": '["/send"]',
    }
    forms = {"listen": f'"127.0.0.1:{leads}"', "tls": "false", "allow_networks": '["127.0.0.0/8"]'}
    form = {"path": '"/contact"', "to": '"/persons/contact/add"'}
    return "".join(
        f"\n{section}\n" + "".join(f"{name} = {value}\n" for name, value in given.items())
        for section, given in (
            ("[egress.smtp]", lines),
            ("[egress.inbound]", back),
            ("[egress.proxy]", calls),
            ("[[egress.http]]", sms),
            ("[egress.leads]", forms),
            ("[[egress.lead]]", form),
        )
    )
