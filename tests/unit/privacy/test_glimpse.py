"""A glimpse at undecoded bytes: nothing that the recognisers would find after decoding is passed over."""

import html
import json
import sys
import unicodedata
from html.entities import html5
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.glimpse import places
from privacy.recognise import AT, PLUS, SEPARATORS, find

VALUES = (
    "zhang@example.com",
    "zhang＠例子.中国",
    "13800138000",
    "+86 138-0013-8000",
    "１３８００１３８０００",
    "𝟏𝟑𝟖𝟎𝟎𝟏𝟑𝟖𝟎𝟎𝟎",
    "138\u00a00013\u20118000",
    "11010519491231002X",
    "6222 0212 3456 7894",
    "(010) 6255 1234",
)


def entities(text: str) -> str:
    return "".join(char if char.isalpha() else f"&#{ord(char)};" for char in text)


def percent(text: str) -> str:
    return "".join(
        char if char.isascii() and char.isalpha() else "".join(f"%{b:02X}" for b in char.encode()) for char in text
    )


def units(text: str) -> str:
    pairs = text.encode("utf-16-be")
    return "".join(f"\\u{pairs[at : at + 2].hex()}" for at in range(0, len(pairs), 2))


NAMES = {text: f"&{name}" for name, text in html5.items() if name.endswith(";") and not text.isalnum()}


def named(text: str) -> str:
    return "".join(NAMES.get(char, char) for char in text)


def slashed(text: str) -> str:
    """Every character behind a backslash, as JavaScript allows where the character has no meaning of its own."""
    return "".join(char if char in "01234567xubfnrtv" else f"\\{char}" for char in text)


def continued(text: str) -> str:
    return "\\\n".join(text)


SPELLINGS = (
    named,
    slashed,
    continued,
    str,
    entities,
    percent,
    units,
    json.dumps,
    html.escape,
    quote,
    lambda text: units(entities(text)),
)


@pytest.mark.parametrize("text", VALUES)
@pytest.mark.parametrize("first", SPELLINGS)
@pytest.mark.parametrize("second", SPELLINGS)
def test_values_are_not_passed_over_however_they_are_escaped(text: str, first, second) -> None:  # type: ignore[no-untyped-def]
    assert places(second(first(text)).encode())


def test_every_character_of_a_shape_counts_as_an_escape() -> None:
    parts = set(AT + PLUS + SEPARATORS + "&%#;\\")
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if char in parts or unicodedata.category(char) == "Nd":
            assert places(units(char).encode()), ascii(char)
            assert places(units(char).upper().replace("\\U", "\\u").encode()), ascii(char)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T08:00:00Z",
        "2026-03-01 08:00:00",
        json.dumps('张伟，住在上海。 "x"\n é 😀'),
        '<a href="/x?a=1&amp;b=2&amp;copy=3#top">a&nbsp;b &lt;c&gt; R&amp;D</a><a href="/%2Fx%3Fy%20z%E5%BC%A0">',
        "<script>var a = /[.]\\s+x\\.y/, b = 'it\\'s', c = \"\\n\"; if (a && b) { f(100 % 7); }</script>",
        '{"id": 12345, "n": 1.5, "a": "/record/1?x=2", "b": "50 % & more"}',
    ],
)
def test_what_every_body_is_full_of_is_no_place(text: str) -> None:
    assert places(text.encode()) == []


@given(st.text(st.sampled_from('013 8+-()@＠.x＋１٣\u00a0\u200b"\\/aé张%&;#')))
def test_whatever_is_found_has_a_place_in_it(text: str) -> None:
    at = places(text.encode())
    for found in find(text):
        before, after = len(text[: found.start].encode()), len(text[: found.end].encode())
        assert any(before - 4 <= place < after for place in at)
