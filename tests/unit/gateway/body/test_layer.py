"""Layers: offsets go down and up through escapes, and overlapping edits are made once."""

from html import escape, unescape

from hypothesis import given
from hypothesis import strategies as st

from gateway.body.entity import attribute_layer, text_layer
from gateway.body.layer import Found, Layer, Pointer, Walk, splice
from gateway.body.nested import MAX_DEPTH, walk_inner
from privacy.render import Context


@given(st.lists(st.text("ab<&\"'é张", max_size=4), min_size=3, max_size=3), st.text("x<&张", max_size=4))
def test_an_edit_in_a_layer_replaces_what_it_shows(texts: list[str], new: str) -> None:
    raw = "".join(escape(text) for text in texts).encode()
    layer = text_layer(Layer(raw), 0, len(raw))
    assert layer.data.decode() == "".join(texts)
    start = len(texts[0].encode())
    end = start + len(texts[1].encode())
    out = splice(raw, [layer.edit(start, end, new, Context.PLAIN, "utf-8")])
    assert unescape(out.decode()) == texts[0] + new + texts[2]
    assert layer.inner(layer.outer(start)) == start


def test_names_without_semicolon_stay_in_attributes() -> None:
    raw = b"?a=1&copy=2&lt"
    assert attribute_layer(Layer(raw), 0, len(raw)).data == raw
    assert text_layer(Layer(raw), 0, len(raw)).data.decode() == "?a=1©=2<"


def test_edits_that_overlap_count_once() -> None:
    assert splice(b"abcdef", [(2, 4, b"X"), (0, 1, b"Y"), (3, 5, b"Z")]) == b"YbXef"


def test_pointer_gives_hits_region_by_region() -> None:
    found = Found("x", False)
    pointer = Pointer([(1, 2, found), (4, 6, found), (8, 9, found)])
    assert pointer.next == 1
    assert [hit[0] for hit in pointer.within(0, 5)] == [1]
    assert list(pointer.within(5, 7)) == []
    assert [hit[0] for hit in pointer.within(7, 9)] == [8]
    assert pointer.done


def test_very_deep_strings_keep_their_surrogates() -> None:
    layer = Layer(b"abc")
    for _ in range(MAX_DEPTH + 1):
        layer = Layer(b"abc", layer)
    walk = Walk(lambda _: None, lambda text: [(0, 3, "<*>")] if text == "abc" else [], "utf-8", walk_inner)
    walk_inner(layer, [(0, 1, Found("x", False))], walk, wire=True)
    assert walk.spliced(b"abc") == b"abc"
