"""The mark on a page: nothing else of the page changes, and it never stands inside a script, a comment or a value."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from gateway.body.html import body_end
from gateway.disclosure.mark import Words, element, let_frame, takes_mark

WORDS = Words("zh-Hans", "查看", 'T"<i>', "窗口", "关闭")
MARK = element(WORDS, "/.crmgate/reveal/open?lang=en&h=abc", "/.crmgate/static/reveal-mark.css?v=1")
PIECES = (
    "<p>text</p>", "</body>", "<!-- </body> -->", "<script>var a = '</body>';</script>", "<title></body></title>",
    "<textarea></body></textarea>", "<style>a{content:'</body>'}</style>", '<a title="</body>">x</a>', "</html>",
    "<select><option>1</option></select>", "<script><!-- <script></body></script> --></script>", "plain & text", "<",
    "<!-- open", "<iframe></body></iframe>", "<xmp></body></xmp>",
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_marking_changes_no_other_byte_and_stands_before_an_end_tag_that_is_one(pieces: list[str]) -> None:
    page = ("<!doctype html><html><head></head><body>" + "".join(pieces)).encode()
    at = body_end(page)
    if at is None:
        return
    marked = page[:at] + MARK + page[at:]
    assert marked.replace(MARK, b"", 1) == page
    assert page[at : at + 6].lower() == b"</body"
    parsed = LexborHTMLParser(marked)
    assert len(parsed.css("crmgate-reveal")) == 1
    found = parsed.css_first("crmgate-reveal")
    while found is not None and found.tag != "html":
        assert found.tag not in {"script", "title", "textarea", "style", "a", "select", "iframe", "xmp"}
        found = found.parent


@pytest.mark.parametrize(
    "page",
    [
        b"<p>a fragment</p>",
        b"</body>",
        b"<html><body><script>'</body>'",
        b"<html><frameset><frame></frameset></html>",
        b"<html><body><plaintext></body>",
        b"<body><!-- </body></html>",
    ],
)
def test_a_page_without_a_real_end_of_its_body_gets_no_mark(page: bytes) -> None:
    assert body_end(page) is None


def test_the_element_is_ascii_without_scripts_or_styles_and_words_stay_words() -> None:
    assert MARK.isascii()
    assert b"<i>" not in MARK
    assert b"script" not in MARK
    assert not re.search(rb"\s(on\w+|style)=", MARK)
    assert LexborHTMLParser(MARK).css_first("crmgate-reveal > button").text() == "查看"


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("default-src 'self'", "default-src 'self'; frame-src 'self' A B"),
        ("frame-src 'none'; script-src 'self'", "frame-src A B; script-src 'self'"),
        ("script-src 'self'; frame-src x.example;", "script-src 'self'; frame-src x.example A B;"),
        ("child-src 'self'", "child-src 'self'; frame-src 'self' A B"),
        ("script-src 'self'", "script-src 'self'"),
        ("frame-src A B", "frame-src A B"),
        ("default-src 'none', frame-src C", "default-src 'none'; frame-src A B, frame-src C A B"),
    ],
)
def test_the_policy_of_a_page_stays_but_for_the_frame(given: str, becomes: str) -> None:
    fields = [("content-type", "text/html"), ("content-security-policy", given)]
    assert let_frame(fields, ("A", "B")) == [fields[0], ("content-security-policy", becomes)]
    reporting = [("content-security-policy-report-only", given)]
    assert let_frame(reporting, ("A", "B")) == reporting


def test_only_charsets_in_which_ascii_stands_for_itself_are_marked() -> None:
    assert all(map(takes_mark, ("utf-8", "latin-1", "gbk", "gb18030", "big5", "cp1252")))
    assert not any(map(takes_mark, ("utf-16-le", "utf-16-be", "utf-32", "cp037", "cp424")))
