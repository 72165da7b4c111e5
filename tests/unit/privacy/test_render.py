"""Encoders: whatever the value, it stays inside its context and is read back as it was."""

import html
import json
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.decision import Form
from privacy.render import Context, Shown, encode, is_inert

ANY = st.text(st.characters(exclude_categories=("Cs",)))
SAFE_MARKUP = re.compile(r"[^<>\"'`]*")


@pytest.mark.parametrize(
    "text", ["张伟", "Jürgen Müller", "+8613800138000", "zhang.wei@example.com", "𠀀𡃁", "Anne-Marie"]
)
def test_ordinary_values_are_inert(text: str) -> None:
    assert is_inert(text)


@pytest.mark.parametrize("sign", [*"<>\"'&`\\:/={}();%#$\n\0\u202e\u2028", "--"])
def test_a_sign_with_meaning_is_not_inert(sign: str) -> None:
    assert not is_inert(f"a{sign}b")
    assert not is_inert("")


@given(ANY)
def test_an_inert_text_needs_no_escape_anywhere(text: str) -> None:
    """The fast path rests on it."""
    if is_inert(text):
        for context in (Context.HTML_TEXT, Context.JSON_STRING, Context.HTML_ATTRIBUTE, Context.XML_TEXT):
            assert encode(text, context) == text


@given(ANY)
def test_html_decodes_to_the_value_and_opens_nothing(text: str) -> None:
    written = encode(text, Context.HTML_TEXT)
    assert SAFE_MARKUP.fullmatch(written)
    assert html.unescape(written) == text.replace("\0", "�")


@given(ANY)
def test_unquoted_attributes_hold_letters_digits_and_references_only(text: str) -> None:
    assert re.fullmatch(r"(?:[0-9A-Za-z]|&#[0-9]+;)*", encode(text, Context.HTML_UNQUOTED))


@given(ANY)
def test_json_strings_decode_to_the_value(text: str) -> None:
    for context in (Context.JSON_STRING, Context.JSON_SCRIPT):
        written = encode(text, context)
        assert json.loads(f'"{written}"') == text
        assert not re.search(r"[<>&'\u2028\u2029]", written)
    assert "-" not in encode(text, Context.JSON_SCRIPT)


@given(ANY)
def test_script_strings_decode_to_the_value(text: str) -> None:
    """JSON reads the same escapes as JavaScript."""
    assert json.loads('"' + encode(text, Context.SCRIPT_STRING) + '"') == text
    strict = encode(text, Context.SCRIPT_ATTRIBUTE)
    assert re.fullmatch(r"(?:[0-9A-Za-z]|\\u[0-9a-f]{4})*", strict)
    assert json.loads(f'"{strict}"') == text


@given(ANY)
def test_urls_decode_to_the_value(text: str) -> None:
    for context in (Context.URL, Context.URL_OPAQUE):
        written = encode(text, context)
        assert unquote(written) == text
        assert re.fullmatch(r"[0-9A-Za-z%_.~@+-]*", written)


@given(ANY)
def test_an_uncertain_place_gets_look_alikes(text: str) -> None:
    assert not re.search(r"[<>\"'&`\\\r\n]|--", encode(text, Context.UNCERTAIN))


@given(ANY)
def test_a_tooltip_opens_no_tag_after_decoding(text: str) -> None:
    assert not re.search(r"<|&[A-Za-z#]", html.unescape(encode(text, Context.HTML_TOOLTIP)))


@pytest.mark.parametrize("text", ["=1+1", "+cmd|x", "-2+3+cmd", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1+1", "|x", "%x"])
def test_a_formula_is_guarded_in_csv(text: str) -> None:
    assert encode(text, Context.CSV_CELL) == "'" + text


@pytest.mark.parametrize(
    "text", ["+8613800138000", "+86 138-0013-8000", "-12.5", "13800138000", "张伟", "", "+1 (415) 555"]
)
def test_numbers_and_phones_are_not_guarded_in_csv(text: str) -> None:
    assert encode(text, Context.CSV_CELL) == text


def test_vcard_escapes_of_rfc_6350() -> None:
    assert encode("a,b;c\\d\r\ne", Context.VCARD_TEXT) == "a\\,b\\;c\\\\d\\ne"


def test_cdata_cannot_be_closed() -> None:
    assert "]]>" not in encode("a]]>b", Context.CDATA).replace("]]]]><![CDATA[>", "")


@pytest.mark.parametrize(
    ("context", "written"),
    [(Context.HTML_TEXT, "&#24352;"), (Context.JSON_STRING, "\\u5f20"), (Context.PLAIN, "?"), (Context.CSV_CELL, "?")],
)
def test_characters_that_the_charset_lacks_become_escapes(context: Context, written: str) -> None:
    assert encode("张", context, "latin-1") == written
    assert encode("ü", context, "latin-1") == "ü"


def test_lone_surrogates_never_leave() -> None:
    assert encode("a\ud800b", Context.JSON_STRING) == "a�b"


def test_shown_is_inert_only_when_clear_and_harmless() -> None:
    assert Shown(Form.CLEAR, "张伟", "张伟").inert == "张伟".encode()
    assert Shown(Form.CLEAR, "<b>", "<b>").inert == b""
    assert Shown(Form.MASKED, "z***", "Zqabc").inert == b""
    assert Shown(Form.MASKED, "z***", 'Zq"').quoted == b"Zq\\u0022"
