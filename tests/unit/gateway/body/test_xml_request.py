"""XML requests: what does not change keeps its bytes, what does is escaped for its place."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body.fault import BodyFault, BodyMalformed, BodyTooDeep, BodyTooLarge, BodyUnreadable
from gateway.body.limits import Limits
from gateway.body.xml_request import open_xml

BODY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n<s:E xmlns:s="u"  a = "1">\n <b><![CDATA[x]]></b><c/><d k=\'v\' />'
    b"<e>&#65;&amp;</e><f> </f></s:E>"
)


def test_an_untouched_document_keeps_every_byte() -> None:
    assert open_xml(BODY, "text/xml").encode() == BODY


def test_a_changed_text_is_the_only_change() -> None:
    document = open_xml(BODY, "text/xml")
    for leaf in document.leaves:
        leaf.new = leaf.text + "<&'\">"
    root = ET.fromstring(document.encode())
    assert root.get("a") == "1<&'\">"
    assert [one.text for one in root] == ["x<&'\">", "<&'\">", "<&'\">", "A&<&'\">", " <&'\">"]
    assert root[2].get("k") == "v<&'\">"


def test_comments_are_emptied() -> None:
    body = b"<!-- 13800138000 --><r><!--x--><a>1<!-- 2 -->3</a></r>"
    document = open_xml(body, "text/xml")
    assert document.leaves[0].text == "13"
    assert document.encode() == b"<!----><r><!----><a>1<!---->3</a></r>"
    document.leaves[0].new = "4"
    assert document.encode() == b"<!----><r><!----><a>4</a></r>"


def test_another_charset_comes_back_in_it() -> None:
    body = '<?xml version="1.0" encoding="GBK"?><r><a>张</a><b>x</b></r>'.encode("gbk")
    document = open_xml(body, "text/xml; charset=gbk")
    assert [leaf.text for leaf in document.leaves] == ["张", "x"]
    assert document.encode() == body
    document.leaves[1].new = "李\U0001f600"
    assert document.encode() == body.replace(b"x</b>", "李&#128512;</b>".encode("gbk"))


def test_limits_and_broken_bodies_have_faults_of_their_own() -> None:
    small = Limits(body=100, depth=3, leaves=3)
    for body, fault in (
        (b"<r>" + b" " * 100 + b"</r>", BodyTooLarge),
        (b"<a><a><a><a/></a></a></a>", BodyTooDeep),
        (b"<r><a/><a/><a/><a/></r>", BodyTooLarge),
        (b"<r>", BodyMalformed),
        (b"<!DOCTYPE r><r/>", BodyMalformed),
        (b"<?xml version='1.0' encoding='x-nobody'?><r/>", BodyUnreadable),
    ):
        with pytest.raises(fault):
            open_xml(body, "text/xml", small)


@given(
    st.recursive(
        st.text(alphabet="ab 张&<>\"'\n]", max_size=8),
        lambda inner: st.lists(st.tuples(st.sampled_from("abc"), inner), min_size=1, max_size=4),
        max_leaves=12,
    )
)
def test_every_tree_is_read_as_a_parser_reads_it(tree: object) -> None:
    def element(name: str, value: object) -> ET.Element:
        made = ET.Element(name)
        if isinstance(value, str):
            made.text = value
        elif isinstance(value, list):
            made.extend([element(*one) for one in value])
        return made

    root = element("r", tree)
    body = ET.tostring(root, encoding="utf-8")
    document = open_xml(body, "text/xml")
    assert document.encode() == body
    assert [leaf.text for leaf in document.leaves] == [one.text or "" for one in root.iter() if not len(one)]
    for leaf in document.leaves:
        leaf.new = "new]]>"
    again = ET.fromstring(document.encode())
    assert {one.text for one in again.iter() if not len(one)} == {"new]]>"}


@given(st.binary(max_size=300))
def test_whatever_comes_is_opened_or_a_fault(data: bytes) -> None:
    try:
        document = open_xml(data, "text/xml")
    except BodyFault:
        return
    assert b"<!--" in data or document.encode() == data
