"""Forms and queries: order, duplicates and untouched encodings are kept."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.body.fault import BodyMalformed, BodyTooLarge
from gateway.body.form import open_form, open_query
from gateway.body.limits import Limits

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


def test_untouched_fields_keep_their_bytes() -> None:
    raw = b"a=%e5%bc%a0+x&b=1&b=&c&&=v&d=%zz&e=a=b"
    form = open_form(raw)
    assert [(leaf.path[0], leaf.text) for leaf in form.leaves] == [
        ("a", "张 x"), ("b", "1"), ("b", ""), ("c", ""), ("", "v"), ("d", "%zz"), ("e", "a=b")
    ]  # fmt: skip
    assert form.encode() == raw
    form.leaves[1].new = "a b&=@"
    form.leaves[3].new = "n"
    assert form.encode() == b"a=%e5%bc%a0+x&b=a+b%26%3D%40&b=&c=n&&=v&d=%zz&e=a=b"


def test_queries_encode_spaces_as_percent_20() -> None:
    query = open_query("q=x%2By&p=%2B86")
    query.leaves[1].new = "+888 7"
    assert query.text == "q=x%2By&p=%2B888%207"


@given(st.lists(st.tuples(TEXT, TEXT)), TEXT)
def test_what_is_opened_is_what_a_server_reads(pairs: list[tuple[str, str]], new: str) -> None:
    form = open_form(urlencode(pairs).encode())
    assert [(leaf.path[0], leaf.text) for leaf in form.leaves] == pairs
    for leaf in form.leaves:
        leaf.new = new
    assert parse_qsl(form.text, keep_blank_values=True) == [(name, new) for name, _ in pairs]


@pytest.mark.parametrize("data", [b"a=%ff", b"a=\xff", b"%ff=1"])
def test_other_charsets_are_refused(data: bytes) -> None:
    with pytest.raises(BodyMalformed):
        open_form(data)
    with pytest.raises(BodyMalformed):
        open_form(b"a=1", "gbk")


def test_limits() -> None:
    with pytest.raises(BodyTooLarge):
        open_form(b"a=1&b=2", limits=Limits(leaves=1))
    with pytest.raises(BodyTooLarge):
        open_form(b"a=1&b=2", limits=Limits(body=3))


@pytest.mark.parametrize(("raw", "before"), [("", ""), ("a=1", "a=1&"), ("a", "a&")])
def test_fields_can_be_added_at_the_end(raw: str, before: str) -> None:
    for opened, written in ((open_form(raw.encode()), "q=%7B+%7D"), (open_query(raw), "q=%7B%20%7D")):
        opened.added.append(("q", "{ }"))
        assert opened.text == before + written
