"""vCard: folded and encoded values are found, changed lines are folded again, others keep their bytes."""

from collections.abc import Callable

import pytest

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
