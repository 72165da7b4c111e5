"""XML: text, attributes and CDATA are rendered; the tree stays; number cells of spreadsheets stay valid."""

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from gateway.body.fault import BodyMalformed
from gateway.body.layer import Net
from gateway.body.media import Media

NAME = "Zqabcdefghijklmn"
PHONE = "+88871234567890"
Render = Callable[..., bytes]


def test_hostile_values_stay_data(render: Render, hostile: str) -> None:
    body = (
        f'<?xml version="1.0"?><!-- {NAME} --><r xmlns:x="u"><x:a t1="{NAME}" b=\'{NAME}\'>{NAME} &amp; co</x:a>'
        f"<c><![CDATA[{NAME}]]></c><f>{NAME}</f><id id='{NAME}'/></r>"
    )
    root = ET.fromstring(render(Media.XML, body, {NAME: hostile}))
    first = root.find("{u}a")
    assert first is not None
    assert first.text == f"{hostile} & co"
    assert len(list(root.iter())) == 5
    spaced = hostile.replace("\n", " ").replace("\t", " ")
    assert (first.get("t1") or "").replace("\n", " ") == spaced
    assert (first.get("b") or "").replace("\n", " ") == spaced
    assert root.findtext("c") == hostile.replace("\r\n", "\n")
    assert root.findtext("f") == NAME


def test_entities_in_surrogates_and_everything_else(render: Render) -> None:
    body = f"<r>\r\n<a  x = '1' >{PHONE.replace('+', '&#43;')}</a><b/>&lt;</r>"
    assert render(Media.XML, body, {PHONE: "<1>"}).decode() == "<r>\r\n<a  x = '1' >&lt;1&gt;</a><b/>&lt;</r>"


def test_links_and_handlers_in_svg(render: Render) -> None:
    body = f'<svg><a xlink:href="mailto:{NAME}" onclick="f(\'{NAME}\')">x</a><script>"{NAME}"</script></svg>'
    out = render(Media.XML, body, {NAME: "a'b"}).decode()
    assert out == f'<svg><a xlink:href="mailto:a%27b" onclick="f(\'a\\u0027b\')">x</a><script>"{NAME}"</script></svg>'


def test_declared_entities_are_refused(render: Render) -> None:
    with pytest.raises(BodyMalformed):
        render(Media.XML, f'<!DOCTYPE r [<!ENTITY a "{NAME}">]><r>{NAME}</r>', {NAME: "x"})
    assert render(Media.XML, f"<!DOCTYPE r><r>{NAME}</r>", {NAME: "x"}) == b"<!DOCTYPE r><r>x</r>"


@pytest.mark.parametrize(
    ("cell", "value", "expected"),
    [
        (f'<c r="A1"><v>{PHONE[1:]}</v></c>', "+8613800138000", '<c r="A1"><v>8613800138000</v></c>'),
        (f'<c r="A1" t="n"><v>{PHONE[1:]}</v></c>', "138•<", '<c r="A1" t="str"><v>138•&lt;</v></c>'),
        (f'<c r="A1"><v>{PHONE[1:]}</v></c>', "138•", '<c r="A1" t="str"><v>138•</v></c>'),
        (f'<c t="str"><f>"{NAME}"</f><v>{NAME}</v></c>', "x", f'<c t="str"><f>"{NAME}"</f><v>x</v></c>'),
        (f'<c t="s"><v>{PHONE[1:]}</v></c>', "x", f'<c t="s"><v>{PHONE[1:]}</v></c>'),
        (f'<c t="inlineStr"><is><t>{NAME}</t></is></c>', "=1", '<c t="inlineStr"><is><t>=1</t></is></c>'),
    ],
)
def test_spreadsheet_cells(render: Render, cell: str, value: str, expected: str) -> None:
    assert render(Media.XML, cell, {NAME: value, PHONE: value}).decode() == expected


def test_recognisers_see_text_attributes_and_numbers(render: Render, mask_phones: Net) -> None:
    body = '<r t1="13800138000" id="13800138000">13800138000<c r="A1"><v>13800138000</v></c><f>13800138000</f></r>'
    assert render(Media.XML, body, {}, net=mask_phones).decode() == (
        '<r t1="138****8000" id="13800138000">138****8000<c r="A1" t="str"><v>138****8000</v></c><f>13800138000</f></r>'
    )


def test_a_hostile_document_takes_linear_time(render: Render) -> None:
    for piece in ("<a '", "<!--", "<![CDATA[", '<a b="', "<?x"):
        render(Media.XML, piece * 50_000 + NAME, {NAME: "x"})
