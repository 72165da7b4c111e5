"""Mail to the CRM's mailbox: what is personal arrives as surrogates, or the mail does not arrive."""

from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import Envelope, Session

from gateway.accounts import utc_now
from gateway.body.limits import Limits
from gateway.egress.reception import Reception
from gateway.egress.smarthost import DeliveryFailed, DeliveryRefused
from tests.unit.gateway.egress.mailroom import HASTE_S, PATIENCE_S, Mailroom, Wayward, text_of, values_of
from tests.unit.gateway.glue import TENANT

BOX = "crm@company.example"
ZHANG = {"last_name": "张伟明", "email": "zhang.weiming@example.com", "phone": "13800138000"}


def reception(room: Mailroom, **changed: Any) -> Reception:
    parts: dict[str, Any] = {"vault": room.glue.vault, "audit": room.trail, "target": room.sink} | changed
    return Reception(
        TENANT,
        parts["vault"],
        room.glue.scanner,
        parts["audit"],
        parts["target"],
        mailboxes=[BOX],
        own_domains=["company.example"],
        limits=Limits(),
        clock=utc_now,
        new_id=room.new_id,
        count=lambda _client, reason: room.counted.append(reason),
        collaborator_s=HASTE_S if changed else PATIENCE_S,
        send_s=HASTE_S if changed else PATIENCE_S,
    )


async def hand_in(taker: Reception, content: bytes, sender: str = ZHANG["email"]) -> str:
    session, envelope, server = Session(None), Envelope(), None  # type: ignore[arg-type]
    assert (await taker.handle_MAIL(server, session, envelope, sender, [])).startswith("250")  # type: ignore[arg-type]
    assert (await taker.handle_RCPT(server, session, envelope, BOX, [])).startswith("250")  # type: ignore[arg-type]
    envelope.content = content
    return await taker.handle_DATA(server, session, envelope)  # type: ignore[arg-type]


def letter(text: str, html: str = "") -> EmailMessage:
    made = EmailMessage()
    made["Subject"] = f"Call {ZHANG['phone']}"
    made["From"] = f"{ZHANG['last_name']} <{ZHANG['email']}>"
    made["To"] = f"CRM desk <{BOX}>, Wang <wang@company.example>"
    made["Cc"] = "陈静 <chen.jing@example.net>"
    made["Message-ID"] = "<abc.1@mail.example.com>"
    made["X-Sender"] = ZHANG["email"]
    made.set_content(text)
    if html:
        made.add_alternative(html, "html")
    return made


async def test_known_and_recognised_values_become_the_surrogates_the_crm_knows(room: Mailroom) -> None:
    held = await room.person("5", **ZHANG)
    text = f"我是张伟明，电话 {ZHANG['phone']}，另一个 13912345678。bob@example.org"
    raw = letter(text, f"<b>张伟明</b><p title='{ZHANG['phone']}'>张伟明 &lt;{ZHANG['email']}&gt;</p>").as_bytes()
    assert (await hand_in(reception(room), raw)).startswith("250")
    ((sender, to, content),) = room.sink.sent
    assert (sender, to) == (held["email"], BOX)
    (got,) = room.sink.letters(BOX)
    assert got["subject"] == f"Call {held['phone']}"
    assert (got["from"].addresses[0].display_name, got["from"].addresses[0].addr_spec) == (
        held["last_name"],
        held["email"],
    )
    assert [one.addr_spec for one in got["to"].addresses] == [BOX, "wang@company.example"]
    assert got["message-id"] == "<abc.1@mail.example.com>"
    assert got["x-sender"] == held["email"]
    assert text_of(got).startswith(f"我是{held['last_name']}，电话 {held['phone']}，另一个 +888")
    assert (
        text_of(got, "html").strip()
        == f"<b>{held['last_name']}</b><p title='{held['phone']}'>{held['last_name']} &lt;{held['email']}&gt;</p>"
    )
    everything = content.decode("utf-8", "replace") + text_of(got) + text_of(got, "html") + str(got.items())
    for value in (*ZHANG.values(), "13912345678", "bob@example.org", "chen.jing@example.net", "陈静"):
        assert value not in everything
    assert [entry.kind for entry in room.trail.entries] == ["decision", "outcome"]
    assert room.trail.entries[0].operation == "ingress.smtp"
    said = values_of(room.trail.entries)
    assert not any(value in said for value in (*ZHANG.values(), *held.values()))


async def test_a_bounce_brings_no_clear_address_back(room: Mailroom) -> None:
    held = await room.person("5", **ZHANG)
    bounce = (
        f"From: MAILER-DAEMON@mail.example.org\r\nTo: {BOX}\r\nSubject: Undelivered\r\nAuto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/plain\r\n\r\n<{ZHANG['email']}>: user unknown\r\n"
        "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mail.example.org\r\n\r\n"
        f"Final-Recipient: rfc822; {ZHANG['email']}\r\nAction: failed\r\nStatus: 5.1.1\r\n"
        f"--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: {BOX}\r\nTo: 张伟明 <{ZHANG['email']}>\r\n"
        f"Subject: =?utf-8?b?5byg5Lyf5piO?=\r\n\r\nyour number {ZHANG['phone']}\r\n--b--\r\n"
    )
    assert (await hand_in(reception(room), bounce.encode(), sender="")).startswith("250")
    ((sender, _, content),) = room.sink.sent
    assert sender == ""
    raw = content.decode()
    for value in (ZHANG["email"], ZHANG["phone"], "5byg5Lyf5piO"):
        assert value not in raw
    assert f"Final-Recipient: rfc822; {held['email']}" in raw


async def test_a_signed_mail_is_opened_a_flood_of_values_refused(room: Mailroom) -> None:
    await room.person("5", **ZHANG)
    signed = (
        f"From: <{ZHANG['email']}>\r\nTo: {BOX}\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/signed; boundary=b\r\n\r\n"
        f"--b\r\nContent-Type: text/plain\r\n\r\n{ZHANG['phone']}\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nsig\r\n--b--\r\n"
    )
    assert (await hand_in(reception(room), signed.encode())).startswith("250")
    assert ZHANG["phone"].encode() not in room.sink.sent[0][2]
    many = " ".join(f"user{number}@flood.example" for number in range(5_001))
    assert (await hand_in(reception(room), letter(many).as_bytes())).startswith("554")


async def test_other_mailboxes_are_refused(room: Mailroom) -> None:
    taker, envelope = reception(room), Envelope()
    for address in ("wang@company.example", "eve@evil.example"):
        said = await taker.handle_RCPT(None, Session(None), envelope, address, [])  # type: ignore[arg-type]
        assert said.startswith("550")
    assert envelope.rcpt_tos == []


async def test_whatever_fails_the_mail_server_tries_again(room: Mailroom) -> None:
    await room.person("5", **ZHANG)
    for part in ("vault", "audit", "target"):
        for way in ("raise", "hang", "nonsense"):
            said = await hand_in(reception(room, **{part: Wayward(way)}), letter("hello").as_bytes())
            assert (part, way, said[:3]) == (part, way, "451")
    for fault, code in ((DeliveryFailed("smart-host-down"), "451"), (DeliveryRefused(550), "554")):
        room.sink.answers[BOX] = [fault]
        assert (await hand_in(reception(room), letter("hello").as_bytes()))[:3] == code
    assert room.sink.sent == []


async def test_an_address_field_nobody_can_read_is_searched_as_text(room: Mailroom) -> None:
    await room.person("5", **ZHANG)
    for field in (f"From: 张伟明 <{ZHANG['email']}", f"From: {ZHANG['email']} (张伟明), <>"):
        room.sink.sent.clear()
        assert (await hand_in(reception(room), f"{field}\r\n\r\nhello".encode())).startswith("250")
        assert ZHANG["email"].encode() not in room.sink.sent[0][2]
