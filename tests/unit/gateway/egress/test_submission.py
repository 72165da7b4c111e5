"""What the CRM hears: 250 everybody has it, 451 try again, 5xx never; counts, never an address."""

from typing import Any

from aiosmtpd.smtp import Envelope, Session

from gateway.egress.listener import NULL_SENDER
from gateway.egress.smarthost import DeliveryFailed, DeliveryRefused
from tests.unit.gateway.egress.mailroom import CRM, HASTE_S, Mailroom, Wayward, mail

ZHANG = {"last_name": "张伟明", "email": "zhang.weiming@example.com", "phone": "13800138000"}
LI = {"last_name": "Li", "email": "li@example.org", "phone": "13912345678"}


async def submit(room: Mailroom, content: object, *to: str) -> list[str]:
    """The answers to RCPT and to DATA."""
    session, envelope, server = Session(None), Envelope(), None  # type: ignore[arg-type]
    assert (await room.submission.handle_MAIL(server, session, envelope, CRM, [])).startswith("250")  # type: ignore[arg-type]
    said = [await room.submission.handle_RCPT(server, session, envelope, one, []) for one in to]  # type: ignore[arg-type]
    envelope.content = content  # type: ignore[assignment]
    return [*said, await room.submission.handle_DATA(server, session, envelope)]  # type: ignore[arg-type]


async def test_the_answers_are_those_of_a_mail_queue(room: Mailroom) -> None:
    zhang, li = await room.person("5", **ZHANG), await room.person("6", **LI)
    pair = (zhang["email"], li["email"])

    def letter(number: int) -> bytes:
        return mail(f"news {number}", zhang["phone"], ", ".join(pair)).as_bytes()

    assert [one[:3] for one in await submit(room, letter(1), *pair)] == ["250", "250", "250"]
    assert [one[:3] for one in await submit(room, letter(2), zhang["email"], zhang["email"].upper())] == ["250"] * 3
    assert len(room.sink.letters(ZHANG["email"])) == 2  # one person named twice gets one mail
    room.sink.answers[LI["email"]] = [DeliveryFailed("smart-host-later"), DeliveryRefused(550)]
    later, refused = (await submit(room, letter(3), *pair))[-1], (await submit(room, letter(3), *pair))[-1]
    assert later.startswith("451 4.3.0 1 of 2")
    assert refused.startswith("554 5.3.0 refused for 1 of 2")
    assert (await submit(room, b"Received: x\r\n" * 60 + b"\r\nhello", zhang["email"]))[-1].startswith("554 5.6.0")
    assert (await submit(room, "no bytes", zhang["email"]))[-1].startswith("451")
    assert "mail-unreadable" in room.counted


async def test_recipients_nobody_can_reach_are_refused_one_by_one(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    odd = await room.person("6", email='"a b"@example.org', last_name="x")
    said = await submit(
        room,
        mail("x", "y", zhang["email"]).as_bytes(),
        "eve@evil.example",
        f"e.{'a' * 32}@enc.invalid",
        odd["email"],
        zhang["email"],
    )
    assert [one.split()[0] for one in said] == ["550", "550", "550", "250", "250"]
    assert [one.split()[1] for one in said[:3]] == ["5.7.1", "5.7.1", "5.1.3"]
    assert len(room.sink.sent) == 1
    assert not any("example" in one or "@" in one for one in said)
    many = await submit(room, b"", *[zhang["email"]] * 11)
    assert many[10].startswith("452")


async def test_a_sender_that_is_a_person_in_the_crm_needs_a_bounce_address(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    envelope, session, server = Envelope(), Session(None), None  # type: ignore[arg-type]

    async def sender(address: str) -> str:
        return await room.submission.handle_MAIL(server, session, envelope, address, [])  # type: ignore[arg-type]

    assert (await sender(zhang["email"])).startswith("553")
    assert (await sender("a b@x")).startswith("553")
    assert (await sender("")).startswith("250")
    assert envelope.mail_from == NULL_SENDER


async def test_recipients_that_cannot_be_asked_for_mean_later(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    for way in ("raise", "hang", "nonsense"):
        broken: Any = Wayward(way)
        room.submission._recipients, room.submission._collaborator_s = broken, HASTE_S
        said = await submit(room, mail("x", "y", zhang["email"]).as_bytes(), zhang["email"])
        assert (way, said[0][:3]) == (way, "451")
    assert room.sink.sent == []
