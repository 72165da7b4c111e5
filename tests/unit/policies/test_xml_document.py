"""XML read strictly: places of texts, and everything that two readers could read differently."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.xml_document import XmlInvalid, charset_of, element_selector, read_xml, texts_at


def places(text: str) -> dict[str, str]:
    return {"/".join(leaf.path): leaf.text for leaf in read_xml(text.encode()).leaves}


def test_texts_and_attributes_are_found_by_local_names() -> None:
    found = places('<a:r xmlns:a="u"><a:b x:c="1" xmlns:x="v">t</a:b><d/></a:r>')
    assert found == {"r/b/@c": "1", "r/b": "t", "r/d": ""}


def test_elements_that_stand_several_times_are_counted() -> None:
    document = read_xml(b"<r><s><n>1</n></s><s><n>2</n><n>3</n></s></r>")
    assert [leaf.path for leaf in document.leaves] == [
        ("r", "s", "0", "n"),
        ("r", "s", "1", "n", "0"),
        ("r", "s", "1", "n", "1"),
    ]
    assert texts_at(document, element_selector("r/s/n")) == ["1", "2", "3"]
    assert texts_at(document, element_selector("**/n")) == ["1", "2", "3"]
    assert texts_at(document, element_selector("s/n")) == []


def test_a_text_is_what_a_parser_reads() -> None:
    assert places("<r>a<!-- x -->b<![CDATA[ <&amp; ]]>&amp;&#x80;\r\nc</r>") == {"r": "ab <&amp; &\x80\nc"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<r>", "xml"),
        ("<r/><r/>", "xml"),
        ("<r a='1' a='2'/>", "xml"),
        ("<x:r/>", "xml"),
        ("<r>&e;</r>", "xml"),
        ("<!DOCTYPE r><r/>", "xml-doctype"),
        ('<!DOCTYPE r [<!ENTITY e "v">]><r>&e;</r>', "xml-doctype"),
        ('<!DOCTYPE r SYSTEM "http://a.invalid/x"><r/>', "xml-doctype"),
        ("<?xml-stylesheet href='x'?><r/>", "xml-instruction"),
        ("<r>text<b/></r>", "xml-mixed"),
        ("<r><b/>text</r>", "xml-mixed"),
        ("<r><b/><![CDATA[text]]></r>", "xml-mixed"),
        ("<a>" * 70 + "</a>" * 70, "xml-depth"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(text: str, problem: str) -> None:
    with pytest.raises(XmlInvalid) as caught:
        read_xml(text.encode())
    assert caught.value.problem == problem


def test_more_texts_than_the_limit_are_refused() -> None:
    with pytest.raises(XmlInvalid, match="xml-leaves"):
        read_xml(b"<r>" + b"<a/>" * 11 + b"</r>", leaves=10)


@pytest.mark.parametrize(
    ("content_type", "body", "label"),
    [
        ("text/xml", b"<r/>", "utf-8"),
        ("text/xml; charset=UTF-8", b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><r/>', "utf-8"),
        ("text/xml", b'<?xml version="1.0" encoding="GBK"?><r/>', "gbk"),
        ("text/xml; charset=utf-16", "\ufeff<r/>".encode("utf-16-le"), "utf-16"),
    ],
)
def test_a_charset_that_everything_agrees_on(content_type: str, body: bytes, label: str) -> None:
    assert charset_of(content_type, body) == label


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/xml; charset=utf-8", b'<?xml version="1.0" encoding="GBK"?><r/>'),
        ("text/xml; charset=gbk", b"\xef\xbb\xbf<r/>"),
        ("text/xml", b'\xef\xbb\xbf<?xml version="1.0" encoding="latin1"?><r/>'),
        ("text/xml; charset=utf-8", b"\xff\xfe<\0r\0/\0>\0"),
        ("text/xml; charset=utf-16", b"<r/>"),
    ],
)
def test_charsets_that_disagree_are_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(XmlInvalid, match="xml-encoding"):
        charset_of(content_type, body)


@given(st.binary(max_size=200) | st.text(alphabet="<>/a=\"'!-[]CDATA&#x1; ?", max_size=200).map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    try:
        document = read_xml(data)
    except XmlInvalid:
        return
    assert all(0 <= leaf.start <= leaf.end <= len(data) for leaf in document.leaves)
