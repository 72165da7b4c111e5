"""A table cut into groups of rows reads, and is rendered, as the whole of it, wherever its chunks end."""

import itertools
import random
from collections.abc import Mapping, Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.body.csv import SAMPLE_BYTES, preamble, separator_of, walk_csv
from gateway.body.csv_rows import HEAD_BYTES, Outline, RowGroups, outline_of
from gateway.body.fault import BodyTooLarge, BodyUnreadable
from gateway.body.layer import Net
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.page import Page, TextualPage, open_page
from policies.decision import Form
from privacy.render import Shown
from tests.unit.gateway.body.conftest import EMAIL, NAME, PHONE, FakeScanner

SHOWN = {
    NAME: Shown(Form.CLEAR, '=a,"b";\n张', "x"),
    PHONE: Shown(Form.MASKED, "+86****8000", "x"),
    EMAIL: Shown(Form.CLEAR, "a@b.example", "x"),
}
PIECES = ['"', '""', ",", ";", "\t", "\r", "\n", "\r\n", "a", " ", "'", "张", "ü", "13800138000", NAME, PHONE, EMAIL]
TEXT = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def outline(text: str, codec: str) -> Outline:
    data = text.encode()
    return Outline(codec, separator_of(data), preamble(data), b"", ())


def cut(data: bytes, ends: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(end for end in ends if end < len(data)), len(data)]
    return [data[first:last] for first, last in itertools.pairwise(edges)]


def groups_of(told: Outline, chunks: Sequence[bytes], group: int) -> list[bytes]:
    groups = RowGroups(told, group)
    return [*(one for chunk in chunks for one in groups.feed(chunk)), groups.finish()]


def shown(page: Page, net: Net | None, table: Mapping[str, Shown] = SHOWN) -> bytes:
    page.surrogates(FakeScanner())
    return page.render(table.get, net)


def streamed(told: Outline, groups: Sequence[bytes], net: Net | None) -> bytes:
    out = []
    for number, group in enumerate(one for one in groups if one):
        walker = partial(walk_csv, separator=told.separator, begins=number == 0)
        out.append(shown(TextualPage(group, told.codec, walker), net))
    return b"".join(out)


def _mask(text: str) -> list[tuple[int, int, str]]:
    at = text.find("13800138000")
    found = []
    while at >= 0:
        found.append((at, at + 11, "138****8000"))
        at = text.find("13800138000", at + 11)
    return found


@given(
    st.sampled_from(["", "\ufeff", "sep=;\n", "\ufeffsep=\t\r\n"]),
    TEXT,
    st.lists(st.integers(0, 600), max_size=12),
    st.integers(1, 40),
    st.sampled_from(["utf-8", "utf-16-le", "gbk", "gb18030", "cp1252"]),
    st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_groups_are_rendered_as_the_whole_is(
    start: str, text: str, ends: list[int], group: int, codec: str, caught: bool
) -> None:
    whole = start + text
    try:
        data = whole.encode(codec)
    except UnicodeEncodeError:
        whole = whole.encode(codec, "ignore").decode(codec)
        data = whole.encode(codec)
    told, net = outline(whole, codec), _mask if caught else None
    groups = groups_of(told, cut(data, ends), group)
    assert b"".join(groups) == data
    assert streamed(told, groups, net) == shown(open_page(Media.CSV, data, codec, Limits()), net)


@given(TEXT, st.binary(max_size=3), st.lists(st.integers(0, 300), max_size=6), st.integers(1, 30))
@settings(max_examples=200, deadline=None)
def test_broken_bytes_stay(text: str, broken: bytes, ends: list[int], group: int) -> None:
    data = text.encode() + broken.replace(b"\0", b"") + b"\n" + text.encode()
    told = Outline("utf-8", separator_of(data), preamble(data), b"", ())
    groups = groups_of(told, cut(data, ends), group)
    assert streamed(told, groups, None) == shown(open_page(Media.CSV, data, "utf-8", Limits()), None)


def test_rows_are_let_go_as_they_come() -> None:
    told = outline("a,b\n", "utf-8")
    groups = RowGroups(told, 8)
    assert list(groups.feed(b'a,b\n"x\n""y",1\n2,')) == [b"a,b\n", b'"x\n""y",1\n']
    assert list(groups.feed(b"345\r")) == []
    assert groups.finish() == b"2,345\r"


def test_a_row_without_an_end_is_too_large() -> None:
    for row in (b"x" * 100, b'"\n' * 1 + b"y,\n" * 40):
        groups = RowGroups(outline("a,b\n", "utf-8"), 8, 64)
        with pytest.raises(BodyTooLarge):
            list(groups.feed(b"a,b\n" + row))


def test_bytes_that_do_not_come_back_are_refused() -> None:
    groups = RowGroups(outline("a\n", "utf-16-le"), 4)
    with pytest.raises(BodyUnreadable):
        [*groups.feed(b"a\0\n\0\x00\xdc"), groups.finish()]


def table(header: str, rows: int = 20_000) -> str:
    rand = random.Random(5)
    return header + "".join(f'{number},"a ""{rand.random()}"";\n"\r\n' for number in range(rows))


@pytest.mark.parametrize("codec", ["utf-8", "gbk", "utf-16-le"])
@pytest.mark.parametrize("start", ["", "\ufeff", "sep=,\r\n"])
def test_the_beginning_tells_what_the_whole_would(codec: str, start: str) -> None:
    if start == "\ufeff" and codec == "gbk":
        return
    text = table(f'{start}编号,"a ""b"",\nc"\n')
    data = text.encode(codec)
    told = outline_of(data[:HEAD_BYTES], codec)
    assert told is not None
    assert told.separator == separator_of(text.encode())
    assert told.labels == ("编号", 'a "b",\nc')
    assert text.encode().startswith(told.header)
    assert streamed(told, groups_of(told, cut(data, range(0, len(data), 50_000)), 4096), None) == data


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        (table("a,b\n"), "utf-32"),
        (table("a,b\n"), "cp037"),
        (table("sep=x\na,b\n"), "utf-8"),
        ('"' + "a" * 3 * SAMPLE_BYTES, "utf-8"),
        ("a,b\n1,2\n", "utf-8"),
    ],
    ids=["wide", "no ascii", "separator", "no row", "short"],
)
def test_what_is_not_cut(text: str, codec: str) -> None:
    assert outline_of(text.encode(codec)[:HEAD_BYTES], codec) is None


def test_labels_in_a_charset_nobody_named_are_left_to_the_guess_over_the_whole() -> None:
    data = table("姓名,电话\n").encode("gbk")
    assert outline_of(data[:HEAD_BYTES], "") is None
    named = outline_of(data[:HEAD_BYTES], "gbk")
    assert named is not None
    assert named.labels == ("姓名", "电话")
    assert outline_of(table("姓名,电话\n").encode()[:HEAD_BYTES], "") is not None
