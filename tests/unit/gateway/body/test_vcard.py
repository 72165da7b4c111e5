"""vCard: folded and encoded values are found, changed lines are folded again, others keep their bytes."""

from collections.abc import Callable

import pytest

from gateway.body.fault import BodyUnreadable
from gateway.body.layer import Net
from gateway.body.media import Media
from gateway.body.vcard import open_vcard

NAME = "Zqabcdefghijklmn"
EMAIL = "e." + "abcdefgh" * 4 + "@enc.invalid"
PHONE = "+88871234567890"
Render = Callable[..., bytes]

CARD = (
    f"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:{NAME}\r\nN:{NAME};Wei;;;\r\n"
    f'item1.TEL;TYPE="cell,voice":{PHONE[:8]}\r\n {PHONE[8:]}\r\n'
    f"NOTE:long long long long long long long long long long long\\, long \\n {EMAIL[:9]}\r\n\t{EMAIL[9:]} end\r\n"
    "END:VCARD\r\n"
)


def unfold(data: bytes) -> list[str]:
    return data.decode().replace("\r\n ", "").replace("\r\n\t", "").split("\r\n")


def test_folded_values_are_rendered(render: Render) -> None:
    out = render(Media.VCARD, CARD, {NAME: "Zhang; Wei", PHONE: "+8613800138000", EMAIL: "zhang@example.com"})
    assert unfold(out) == [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "FN:Zhang\\; Wei",
        "N:Zhang\\; Wei;Wei;;;",
        'item1.TEL;TYPE="cell,voice":+8613800138000',
        "NOTE:long long long long long long long long long long long\\, long \\n zhang@example.com end",
        "END:VCARD",
        "",
    ]
    assert all(len(line) <= 75 for line in out.split(b"\r\n"))


def test_hostile_values_add_no_line_and_no_component(render: Render, hostile: str) -> None:
    lines = unfold(render(Media.VCARD, CARD, {NAME: hostile}))
    assert [line.partition(":")[0] for line in lines] == [line.partition(":")[0] for line in unfold(CARD.encode())]
    card = open_vcard(render(Media.VCARD, CARD, {NAME: hostile}))
    family = next(leaf for leaf in card.leaves if leaf.path == ("N", "family"))
    assert family.text.split() == hostile.split()


def test_quoted_printable(render: Render) -> None:
    coded = EMAIL.replace("@", "=40")
    head = "BEGIN:VCARD\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:"
    body = f"{head}=E5=BC=A0 {coded[:30]}=\n{coded[30:]}\nEND:VCARD\n"
    out = render(Media.VCARD, body, {EMAIL: "张@example.com"})
    card = open_vcard(out)
    assert card.leaves[0].text == "张 张@example.com"
    assert out.isascii()


def test_untouched_cards_keep_their_bytes(render: Render) -> None:
    assert render(Media.VCARD, CARD, {}).decode() == CARD
    assert open_vcard(CARD.encode()).encode().decode() == CARD


def test_recognisers_see_unfolded_values(render: Render, mask_phones: Net) -> None:
    body = "BEGIN:VCARD\r\nUID:13800138000\r\nTEL:138001\r\n 38000\r\nEND:VCARD\r\n"
    out = render(Media.VCARD, body, {}, net=mask_phones).decode()
    assert out == "BEGIN:VCARD\r\nUID:13800138000\r\nTEL:138****8000\r\nEND:VCARD\r\n"


def test_leaves_name_property_and_component() -> None:
    card = open_vcard(b"BEGIN:VCARD\nN:Zhang;Wei\nADR:;;1 Road\\, 2;City;;;\nEMAIL;TYPE=work:a@b.example\nEND:VCARD\n")
    got = {leaf.path: leaf.text for leaf in card.leaves if leaf.text}
    assert got == {
        ("N", "family"): "Zhang", ("N", "given"): "Wei", ("ADR", "street"): "1 Road, 2", ("ADR", "city"): "City",
        ("EMAIL",): "a@b.example",
    }  # fmt: skip
    next(leaf for leaf in card.leaves if leaf.path == ("N", "given")).new = "a;b"
    assert b"\nN:Zhang;a\\;b\n" in card.encode()


@pytest.mark.parametrize("tail", [";ENCODING=QUOTED-PRINTABLE:" + "a=\n" * 50_000, ";x" * 50_000 + ":", "\n " * 50_000])
def test_a_hostile_card_takes_linear_time(tail: str) -> None:
    assert open_vcard(("NOTE" + tail).encode()) is not None


def rewritten(body: bytes, **new: str) -> bytes:
    """The card with these values, by the first step of the path ("text" for lines that are no property)."""
    card = open_vcard(body)
    assert card.encode() == body
    for leaf in card.leaves:
        leaf.new = new.get(leaf.path[0] if leaf.path else "text")
    return card.encode()


def test_pictures_are_no_text_however_their_lines_are_broken() -> None:
    for lines in (b"/9j/4AAQ\r\n SkZJ13800138000", b"/9j/4AAQ\r\n13800138000\r\n", b"\r\n /9j/4AAQ\r\n"):
        for head in (b"PHOTO;ENCODING=BASE64;JPEG:", b"PHOTO;ENCODING=b;TYPE=JPEG:", b"X-MS-CARDPICTURE;BASE64:"):
            body = b"BEGIN:VCARD\r\n" + head + lines + b"\r\nTEL:1\r\nEND:VCARD\r\n"
            assert [leaf.path for leaf in open_vcard(body).leaves] == [("TEL",)]
    inline = b"BEGIN:VCARD\nPHOTO:data:image/png;base64,AAAA\nPHOTO:https://crm.example/a.png\nEND:VCARD\n"
    assert [leaf.text for leaf in open_vcard(inline).leaves] == ["https://crm.example/a.png"]


@pytest.mark.parametrize("head", [b"NOTE;ENCODING=BASE64:", b"PHOTO;ENCODING=b:", b"NOTE;B:"])
def test_a_text_that_is_coded_like_a_picture_cannot_be_read(head: bytes) -> None:
    with pytest.raises(BodyUnreadable):
        open_vcard(b"BEGIN:VCARD\r\n" + head + b"MTM4MDAxMzgwMDAKMTM4MDAxMzgwMDE=\r\nEND:VCARD\r\n")


def test_addresses_written_as_links_are_their_values() -> None:
    body = b'BEGIN:VCARD\nTEL;VALUE=uri;TYPE="voice,cell":tel:+8613800138000\nEMAIL:MAILTO:z@a.example\nEND:VCARD\n'
    assert [leaf.text for leaf in open_vcard(body).leaves] == ["+8613800138000", "z@a.example"]
    assert b":tel:+888\nEMAIL:MAILTO:e@b.invalid\n" in rewritten(body, TEL="+888", EMAIL="e@b.invalid")


def test_parameters_that_name_somebody_are_values_too() -> None:
    body = (
        b'BEGIN:VCALENDAR\r\nATTENDEE;ROLE=CHAIR;CN="Zhang, Wei";SENT-BY="mailto:a@b.example":mailto:z@a.example\r\n'
        b"ADR;LABEL=1 Road;TYPE=home:;;1 Road;;;;\r\nEND:VCALENDAR\r\n"
    )
    leaves = {leaf.path[0]: leaf.text for leaf in open_vcard(body).leaves if leaf.path[0] != "ADR"}
    assert leaves == {"ATTENDEE": "z@a.example", "CN": "Zhang, Wei", "SENT-BY": "a@b.example", "LABEL": "1 Road"}
    got = unfold(rewritten(body, CN='Zq";X=1:', LABEL="Zr"))
    assert got[1] == 'ATTENDEE;ROLE=CHAIR;CN="Zq  X=1 ";SENT-BY="mailto:a@b.example":mailto:z@a.example'
    assert got[2] == "ADR;LABEL=Zr;TYPE=home:;;1 Road;;;;"


def test_lines_that_are_no_property_are_read_all_the_same() -> None:
    body = b"BEGIN:VCARD\r\nTEL:1\r\nEND:VCARD\r\n\r\nZhang,13800138000\r\n"
    assert [(leaf.path, leaf.text) for leaf in open_vcard(body).leaves] == [(("TEL",), "1"), ((), "Zhang,13800138000")]
    assert rewritten(body, text="Zhang,+888").endswith(b"END:VCARD\r\n\r\nZhang,+888\r\n")


def test_lines_in_a_charset_of_their_own() -> None:
    body = b"BEGIN:VCARD\r\nN;CHARSET=GBK;ENCODING=QUOTED-PRINTABLE:=D5=C5;=CE=B0\r\nNOTE;CHARSET=GBK:"
    body += "\u5f20\u4f1f".encode("gbk") + b"\r\nFN;CHARSET=UTF-8:" + "\u5f20".encode() + b"\r\nEND:VCARD\r\n"
    assert [leaf.text for leaf in open_vcard(body).leaves] == ["\u5f20", "\u4f1f", "\u5f20\u4f1f", "\u5f20"]
    got = rewritten(body, NOTE="\u5f20 +888")
    assert "\u5f20 +888".encode("gbk") in got
    assert b"=D5=C5;=CE=B0" in got
