"""Scripts: where literals are, and what their escapes mean."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body.script import ESCAPE, literals, unescape


@pytest.mark.parametrize(
    ("code", "insides"),
    [
        ('a = \'x\' + "y\\"z" + `t ${1}`', ["x", 'y\\"z', "t ${1}"]),
        ("// 'no'\nb = 'yes' /* 'no' */", ["yes"]),
        ("c = a / b; d = 'q' / 2", ["q"]),
        ("/['\"]/.test('s')", ["s"]),
        ("return /'/g, 't'", ["t"]),
        ("x = 'open\ny = 'u'", ["open", "u"]),
        ("'a\\\r\nb'", ["a\\\r\nb"]),
        ("'\\\\' + 'v'", ["\\\\", "v"]),
        ("", []),
    ],
)
def test_literals(code: str, insides: list[str]) -> None:
    data = code.encode()
    assert [data[start:end].decode() for start, end in literals(data)] == insides


@pytest.mark.parametrize(
    ("escape", "text"),
    [("\\x41", "A"), ("\\u5f20", "张"), ("\\u{1F600}", "😀"), ("\\ud83d\\ude00", "😀"), ("\\n", "\n"), ("\\'", "'"),
     ("\\\n", ""), ("\\101", "A"), ("\\0", "\0"), ("\\q", "q"), ("\\é", "é")],
)  # fmt: skip
def test_escapes(escape: str, text: str) -> None:
    assert ESCAPE.sub(lambda match: unescape(match.group()), escape.encode()).decode() == text


@given(st.text("'\"`/\\\n*[]a(=", max_size=60))
def test_literals_are_in_order_and_inside(code: str) -> None:
    data = code.encode()
    found = literals(data)
    assert all(0 <= start <= end <= len(data) for start, end in found)
    assert all(one[1] <= two[0] for one, two in pairwise(found))


@pytest.mark.parametrize("piece", ["/[", "'", "/*", "`${", "=/(", "\\"])
def test_hostile_scripts_take_linear_time(piece: str) -> None:
    assert isinstance(literals(piece.encode() * 50_000), list)
