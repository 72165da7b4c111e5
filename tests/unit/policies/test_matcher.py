"""Path templates: the right one wins, parameters are checked, hostile paths never raise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.matcher import PathTrie, TemplateInvalid, plain_path


def _trie(*templates: str) -> PathTrie[str]:
    trie: PathTrie[str] = PathTrie()
    for template in templates:
        trie.add(template, template)
    return trie


def test_exact_segment_wins_over_parameter() -> None:
    trie = _trie("/a/{x:word}", "/a/add")
    assert trie.find("/a/add") == ("/a/add", {})
    assert trie.find("/a/other") == ("/a/{x:word}", {"x": "other"})


def test_dead_end_behind_an_exact_segment_falls_back_to_the_parameter() -> None:
    trie = _trie("/a/add/b", "/a/{x:word}/c")
    assert trie.find("/a/add/c") == ("/a/{x:word}/c", {"x": "add"})


def test_integer_parameter_takes_ascii_digits_only() -> None:
    trie = _trie("/r/{record}")
    assert trie.find("/r/15") == ("/r/{record}", {"record": "15"})
    for wrong in ("/r/١٥", "/r/1a", "/r/-1", "/r/" + "1" * 21, "/r"):
        assert trie.find(wrong) is None


def test_parameter_inside_a_segment() -> None:
    assert _trie("/type_{kind}/list").find("/type_3/list") == ("/type_{kind}/list", {"kind": "3"})
    assert _trie("/type_{kind}/list").find("/type_/list") is None


def test_tail_takes_the_rest_but_not_nothing_of_a_longer_template() -> None:
    trie = _trie("/s/{rest:tail}", "/s/x/y")
    assert trie.find("/s/x/y") == ("/s/x/y", {})
    assert trie.find("/s/x/z/1") == ("/s/{rest:tail}", {})


def test_root_is_a_path_like_any_other() -> None:
    assert _trie("/").find("/") == ("/", {})


@pytest.mark.parametrize("template", ["a", "/a/{", "/a/{x:nothing}", "/a/{X}"])
def test_malformed_template_is_refused(template: str) -> None:
    with pytest.raises(TemplateInvalid) as caught:
        _trie(template)
    assert caught.value.permanent


@pytest.mark.parametrize("template", ["/a/b", "/a/{x}", "/s/{rest:tail}"])
def test_template_given_twice_is_refused(template: str) -> None:
    with pytest.raises(TemplateInvalid):
        _trie(template, template)


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("/a/b/", "/a/b"),
        ("/", "/"),
        ("/%61/%E5%BC%A0", "/a/张"),
        ("/a%2Fb", "/a/b"),
        ("/a//b", None),
        ("/a/../b", None),
        ("/a/%2e%2e/b", None),
        ("/a%0A", None),
        ("/a%00", None),
        ("/a\\b", None),
        ("/%ff", None),
        ("a", None),
        ("/" + "a" * 5000, None),
    ],
)
def test_path_is_decoded_once_or_refused(raw: str, plain: str | None) -> None:
    assert plain_path(raw) == plain


@given(st.text(max_size=200))
def test_no_path_raises(text: str) -> None:
    trie = _trie("/a/{x}/b", "/a/{x:word}/{y:any}", "/s/{rest:tail}", "/type_{k}/z")
    for path in (text, "/" + text, "/a/" + text, "/s/" + text):
        plain = plain_path(path)
        if plain is not None:
            found = trie.find(plain)
            assert found is None or isinstance(found[1], dict)
