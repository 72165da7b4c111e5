"""The short way and the long way give the same body, whatever stands in it."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.body.html import walk_html
from gateway.body.json import walk_json
from gateway.body.layer import Net, Show
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.page import TextualPage, open_page
from policies.decision import Form
from privacy import recognise
from privacy.mask import mask, wire_mask
from privacy.render import Shown
from tests.unit.gateway.body.conftest import EMAIL, NAME, PHONE, FakeScanner

CLEAR = {NAME: "张 O'Neil <b>", EMAIL: "zhang.wei@example.com", PHONE: "13800138000"}
KINDS = {NAME: "name", EMAIL: "email", PHONE: "phone"}
SPELLINGS = (
    NAME,
    EMAIL,
    PHONE,
    NAME.upper(),
    EMAIL.upper(),
    EMAIL.replace("@", "%40"),
    EMAIL.replace("@", "&#64;"),
    PHONE.replace("+", "%2B"),
    PHONE[1:],
)
CLEAR_VALUES = (
    "bob@example.org",
    "13912345678",
    "+86 139 1234 5678",
    "bob%40example.org",
    "bob&#64;example.org",
    "bob\\u0040example.org",
    "１３９１２３４５６７８",
    "11010519491231002X",
    "2026-03-01T08:00:00Z",
    "20260301080000123",
    "1700000000000",
)
PIECES = (
    " ",
    ",",
    "é",
    "张伟",
    "/",
    "\\",
    '"',
    "\n",
    "\t",
    "&",
    "&amp;",
    "<b>",
    "</b>",
    '<a href="/x?q=',
    '">',
    "https://x.example/?q=",
    "mailto:",
    "x: ",
    "=",
    "[",
    "{",
    "@",
    "+",
    "1",
    "--",
    "😀",
)
TEXTS = st.lists(st.sampled_from((*SPELLINGS, *CLEAR_VALUES, *PIECES)), max_size=5).map("".join)
KEYS = st.sampled_from(("a", "name", "phone", NAME, EMAIL, PHONE, "13912345678", "x y", 'q"', "张"))
LEAVES = st.none() | st.booleans() | st.integers() | TEXTS
NESTED = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
VALUES = NESTED | st.lists(NESTED.map(json.dumps), min_size=1, max_size=2)


def shower(forms: dict[str, Form | None]) -> Show:
    shown = {}
    for canonical, form in forms.items():
        clear, kind = CLEAR[canonical], KINDS[canonical]
        if form is Form.CLEAR:
            shown[canonical] = Shown(form, clear, clear)
        elif form is Form.MASKED:
            shown[canonical] = Shown(form, mask(kind, clear), wire_mask(kind, clear, canonical))
        elif form is Form.HIDDEN:
            shown[canonical] = Shown(form, "••••••", canonical)
    return shown.get


def masked(text: str) -> list[tuple[int, int, str]]:
    return [(found.start, found.end, mask(found.kind, found.text)) for found in recognise.find(text)]


FORMS = st.fixed_dictionaries({one: st.sampled_from((None, *Form)) for one in CLEAR})


def both(body: bytes, show: Show, net: Net | None) -> tuple[bytes, bytes]:
    short = open_page(Media.JSON, body, "utf-8", Limits())
    long = TextualPage(body, "utf-8", walk_json)
    assert short.surrogates(FakeScanner()) == long.surrogates(FakeScanner())
    return short.render(show, net), long.render(show, net)


@settings(max_examples=300)
@given(VALUES, FORMS, st.booleans(), st.booleans(), st.sampled_from((None, 1)))
@example([NAME + " 13912345678", 13912345678, {"a": 13912345678}], dict.fromkeys(CLEAR, Form.CLEAR), True, False, None)
@example(["１３９１２３４５６７８ x"], dict.fromkeys(CLEAR, Form.CLEAR), True, True, None)
@example([json.dumps(["bob@example.org"]).replace("@", "\\u0040")], {}, True, False, None)
@example(["https://x.example/?q=bob%40example.org", "<b>bob&#64;example.org</b>"], {}, True, False, None)
@example(["7<b", "13912345678"], dict.fromkeys(CLEAR, Form.CLEAR), True, False, None)
@example(
    '<a href="/x?q=x: e.abcdefghabcdefghabcdefghabcdefgh@enc.invalid',
    dict.fromkeys(CLEAR, Form.CLEAR),
    False,
    False,
    None,
)
def test_both_ways_give_the_same_body(
    value: object, forms: dict[str, Form | None], looks: bool, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    short, long = both(body, shower(forms), masked if looks else None)
    assert short == long


@given(st.text(st.sampled_from('"\\ ,:[]{}n1u0@ab/<>&%')), FORMS)
def test_a_body_that_is_no_json_is_no_way_around_the_recognisers(text: str, forms: dict[str, Form | None]) -> None:
    body = f'{text}"bob@example.org {NAME}", "13912345678"'.encode()
    short, long = both(body, shower(forms), masked)
    assert short == long


HTML_PIECES = (
    "<p>",
    "</p>",
    "<br>",
    "<b title='",
    "<input value=",
    '<a href="',
    '<td data-x="',
    "<option>",
    "<textarea>",
    "</textarea>",
    "<script>",
    "</script>",
    "<style>",
    "</style>",
    "<!--",
    "-->",
    "<li@example.com>",
    "'",
    "&nbsp;",
    "&amp;",
    "&commat;",
    "\\x40",
    "mailto:",
    "javascript:",
    " ",
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from((*HTML_PIECES, *PIECES, *SPELLINGS, *CLEAR_VALUES)), max_size=14).map("".join), FORMS)
@example(f"<p>call &#49;3912345678</p><script>x = '{NAME} 13912345678'</script>", dict.fromkeys(CLEAR, Form.CLEAR))
@example("<p>a</p><input value=1><b title='bob&commat;example.org'>x</b>", dict.fromkeys(CLEAR, Form.CLEAR))
def test_pages_are_the_same_when_the_recognisers_see_only_what_could_hold_something(
    text: str, forms: dict[str, Form | None]
) -> None:
    short = open_page(Media.HTML, text.encode(), "utf-8", Limits())
    long = TextualPage(text.encode(), "utf-8", walk_html)
    assert short.surrogates(FakeScanner()) == long.surrogates(FakeScanner())
    assert short.render(shower(forms), masked) == long.render(shower(forms), masked)
