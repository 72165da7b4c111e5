"""The short way through a table gives the bytes, and counts the values, of the plain way that looks at every cell."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.body.csv import walk_csv
from gateway.body.csv_quick import walk_table
from gateway.body.layer import Net, Thorough
from gateway.body.page import TextualPage
from policies.decision import Form
from privacy import recognise
from privacy.render import Shown
from tests.unit.gateway.body.conftest import EMAIL, NAME, PHONE, FakeHit, FakeScanner

CLEAR = (
    "13800138000",
    "+86 138 0013 8000",
    "zhang@example.com",
    "张伟 tel13912345678",
    "＠a",
    "a@b",
    "11010519491231002X",
)
# A surrogate as CRMs and people leave it: guarded, without its sign, in capitals, cut, with more around it, torn.
LEFT = (
    *(NAME, EMAIL, PHONE, "'" + PHONE, PHONE[1:], NAME.upper(), EMAIL.replace("@", "%40"), NAME[:-3], NAME[:9] + "…"),
    *(f"{NAME} {PHONE}", f"x{NAME}x", f"+888<b>{PHONE[4:]}", f"+888<i,\n>{PHONE[4:]}", f'+888<i ""a"">{PHONE[4:]}'),
)
PIECES = (
    *LEFT,
    *CLEAR,
    "",
    "",
    "a",
    "note",
    " ",
    "'",
    '"',
    '""',
    "\0",
    "é",
    "张",
    "\ud800",
    "'=1+1",
    "@",
    ",",
    ";",
    "\t",
)
BREAKS = st.sampled_from(["\r\n", "\n", "\r", "\n", "\r\n"])
SEPARATORS = st.sampled_from([",", ";", "\t", "|", ",", ";"])
VALUES = (
    "张伟",
    "Li, Wei",
    "=1+1",
    "+8613800138000",
    "a",
    "z***@x.com",
    'say "x"',
    " x",
    "line\r\nbreak",
    "'+86",
    "••",
    "ª",
)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A table of any kind, and sometimes what is none."""
    separator = draw(SEPARATORS)
    cell = st.one_of(
        st.sampled_from(LEFT),
        st.sampled_from(LEFT).map(lambda text: f'"{text}"'),
        st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
        st.lists(st.sampled_from(PIECES), max_size=4).map(lambda some: '"' + "".join(some).replace('"', '""') + '"'),
        st.lists(st.sampled_from(PIECES), max_size=3).map(lambda some: '"' + "".join(some)),
    )
    start = draw(st.sampled_from(["", "\ufeff", f"sep={separator}\n", f"\ufeffsep={separator}\r\n", "sep=.\n", '"\n']))
    text = start + f"Name{separator}Phone{separator}Name\n"
    for row in draw(st.lists(st.lists(cell, max_size=5), max_size=6)):
        text += separator.join(row) + draw(BREAKS)
    data = text.encode("utf-8", "surrogatepass")
    return data + draw(st.sampled_from([b"", b"\xff,\xe5\xbc", NAME.encode(), b'"' + PHONE.encode(), b'"']))


class Finder(FakeScanner):
    """Finds surrogates with a tag inside as well, as the real scanner does; such a tag may hold ends of cells."""

    _torn = re.compile(rb"\+888<[^<>]{0,80}>71234567890")

    def find(self, data: bytes) -> list[FakeHit]:
        torn = [FakeHit(one.start(), one.end(), PHONE, "phone", False) for one in self._torn.finditer(data)]
        return sorted([*super().find(data), *torn], key=lambda hit: hit.start)


def masks(caught: Counter[str]) -> Net:
    """What roles get that do not see everything, and what was caught."""

    def net(text: str) -> list[tuple[int, int, str]]:
        found = recognise.find(text)
        caught.update(one.kind for one in found)
        return [(one.start, one.end, "•" * 6) for one in found]

    return net


def rendered(
    walk: Callable[..., None], data: bytes, charset: str, shown: Mapping[str, Shown], *, net: bool, begins: bool
) -> tuple[bytes, Counter[str], Counter[str]]:
    """The page, how often each value was shown, what was caught."""
    counts: Counter[str] = Counter()
    caught: Counter[str] = Counter()

    def show(canonical: str) -> Shown | None:
        counts[canonical] += 1
        return shown.get(canonical)

    page = TextualPage(data, charset, partial(walk, begins=begins))
    page.surrogates(Finder())
    return page.render(show, masks(caught) if net else None), counts, caught


FORMS = st.sampled_from([Form.CLEAR, Form.MASKED, Form.HIDDEN])
SHOWN = st.dictionaries(
    st.sampled_from([NAME, EMAIL, PHONE]), st.builds(Shown, FORMS, st.sampled_from(VALUES), st.just(NAME)), max_size=3
)


@settings(max_examples=300, deadline=None)
@given(tables(), SHOWN, st.sampled_from(["utf-8", "utf-8", "utf-16-le", "gbk", "latin-1", "big5"]), st.booleans())
def test_any_table_is_what_the_plain_way_makes_of_it(
    data: bytes, shown: Mapping[str, Shown], charset: str, begins: bool
) -> None:
    body = data if charset == "utf-8" else data.decode("utf-8", "replace").encode(charset, "replace")
    for net in (False, True):
        quick, plain = (rendered(walk, body, charset, shown, net=net, begins=begins) for walk in (walk_table, walk_csv))
        assert quick == plain


@pytest.mark.parametrize("net", [False, True])
def test_a_table_with_everything_is_rendered_alike(net: bool) -> None:
    """Every kind of cell beside every other one, so that what one leaves behind cannot change the next."""
    cells = [*LEFT, *CLEAR, *(f'"{one}"' for one in (*LEFT, *CLEAR)), '"a ""b"""', '"open', "'"]
    shown = {NAME: Shown(Form.CLEAR, "Li, Wei", "x"), PHONE: Shown(Form.MASKED, "+86*", "x")}
    data = ("a,b\n" + "".join(f"{one},{other}\r\n" for one in cells for other in cells)).encode()
    quick, plain = (rendered(walk, data, "utf-8", shown, net=net, begins=True) for walk in (walk_table, walk_csv))
    assert quick == plain
    assert b"Li, Wei" in quick[0]
    assert (b",13800138000\r\n" in quick[0]) is not net


def test_a_net_that_has_to_see_everything_sees_every_cell() -> None:
    seen: list[str] = []

    def net(text: str) -> list[tuple[int, int, str]]:
        seen.append(text)
        return []

    page = TextualPage(b"a,b\nxy,z\n", "utf-8", walk_table)
    page.surrogates(FakeScanner())
    page.render(lambda _: None, Thorough(net))
    assert "z" in "".join(seen)
