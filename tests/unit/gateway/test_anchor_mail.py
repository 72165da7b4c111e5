"""Checkpoints by mail: a real SMTP server gets the note as it was signed; refusals are said without an address."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.anchor import AnchorFailed, Published
from audit.note import Checkpoint, Signer, origin_of
from gateway.anchor_mail import MailAnchor
from gateway.demo.children import free_port
from gateway.egress.config import Leg
from gateway.egress.smarthost import SmartHost
from tests.drills.mail_sink import MailSink

AT = datetime(2026, 11, 27, tzinfo=UTC)
SIGNER = Signer(bytes(range(32)))
CHECKPOINT = Checkpoint(origin_of("demo"), 4711, bytes(32))


@pytest.fixture
def sink() -> Iterator[MailSink]:
    made = MailSink(free_port())
    made.start()
    yield made
    made.stop()


def published() -> Published:
    async def grow(_size: int) -> list[bytes]:
        raise AssertionError

    return Published("demo", CHECKPOINT, SIGNER.sign(CHECKPOINT.text(), CHECKPOINT.origin), grow)


def anchor(port: int, **options: Any) -> MailAnchor:
    host = SmartHost("127.0.0.1", port, Leg.OFF, None, timeout_s=20, **options)
    return MailAnchor(host, "crmgate@example.org", "auditor@example.org", every_s=1, now=lambda: AT)


async def test_the_auditor_gets_the_note_as_it_was_signed(sink: MailSink) -> None:
    await anchor(sink.port).keep(published())
    [mail] = sink.taken
    assert (mail.sender, mail.to) == ("crmgate@example.org", ("auditor@example.org",))
    [part] = mail.letter.iter_attachments()
    assert part.get_filename() == "demo-4711.checkpoint"
    note = part.get_payload(decode=True)
    assert isinstance(note, bytes)
    assert SIGNER.verifier.open_checkpoint(note.decode(), CHECKPOINT.origin) == CHECKPOINT
    assert "4711 entries" in mail.text()
    assert "审计日志" in mail.text()
    assert mail.letter["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("answer", ["550 no such user", "451 later"])
async def test_a_refusal_is_said_without_an_address(sink: MailSink, answer: str) -> None:
    sink.answers["auditor@example.org"] = [answer]
    with pytest.raises(AnchorFailed) as said:
        await anchor(sink.port).keep(published())
    assert "example" not in str(said.value)


async def test_a_server_that_is_away_is_said() -> None:
    with pytest.raises(AnchorFailed, match="smart-host"):
        await anchor(free_port()).keep(published())
