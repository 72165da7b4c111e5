"""JSON: values are read back as they are, everything else keeps its bytes, and requests are opened strictly."""

import json
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from gateway.body.fault import BodyMalformed, BodyTooDeep, BodyTooLarge
from gateway.body.json import open_json
from gateway.body.layer import Net
from gateway.body.limits import Limits
from gateway.body.media import Media
from policies.decision import Form
from privacy.render import Shown

NAME = "Zqabcdefghijklmn"
EMAIL = "e." + "abcdefgh" * 4 + "@enc.invalid"
PHONE = "+88871234567890"
Render = Callable[..., bytes]


@pytest.mark.parametrize(
    "template",
    ["{}", "Dear {},", " {} ", 'said "{}" loudly', "a\\{}", "{}\n{}", "é{}张", "x: {}", "<{}>"],
)
def test_hostile_values_are_read_back(render: Render, hostile: str, template: str) -> None:
    body = json.dumps([{"v": template.replace("{}", NAME), "w": [1, None]}, "x"])
    out = render(Media.JSON, body, {NAME: hostile})
    assert json.loads(out)[0]["v"] == template.replace("{}", hostile)
    assert orjson.loads(out)[1] == "x"
    assert b"<img" not in out
    assert b"</script" not in out


def test_only_the_surrogate_changes(render: Render) -> None:
    body = f'\r\n{{ "a" :"{NAME}" ,"b":"x\\/\\u00e9 {NAME}", "n":12345678901234567890,"m":1.50, "e":"{EMAIL}"}} '
    out = render(Media.JSON, body, {NAME: "张 伟", EMAIL: "o'b@example.com"}).decode()
    assert out == body.replace(NAME, "张 伟").replace(EMAIL, "o\\u0027b@example.com")


def test_html_inside_a_string_is_rendered_as_html(render: Render, hostile: str) -> None:
    """Creme answers its bricks so."""
    html = f'<div class="c" title="{NAME}">{NAME}<input value="{NAME}"></div>\n<script>x = "{NAME}";</script>'
    out = render(Media.JSON, json.dumps({"html": [[1, html]]}), {NAME: hostile})
    parser = LexborHTMLParser(json.loads(out)["html"][0][1])
    assert [node.tag for node in parser.css("*")] == [
        node.tag for node in LexborHTMLParser(html.replace(NAME, "x")).css("*")
    ]
    assert parser.css_first("div").text().startswith(hostile)
    assert parser.css_first("input").attributes["value"] == hostile


def test_json_inside_a_string_is_rendered_as_json(render: Render, hostile: str) -> None:
    inner = json.dumps({"n": NAME, "deeper": json.dumps([NAME])})
    out = json.loads(json.loads(render(Media.JSON, json.dumps({"s": inner}), {NAME: hostile}))["s"])
    assert out["n"] == hostile
    assert json.loads(out["deeper"]) == [hostile]


def test_links_inside_strings(render: Render) -> None:
    body = json.dumps({"next": f"/api?q={EMAIL}", "abs": f"https://x.example/?p={PHONE}", "m": f"mailto:{EMAIL}"})
    out = json.loads(render(Media.JSON, body, {EMAIL: "a b@example.com", PHONE: "+86 138"}))
    assert out == {
        "next": f"/api?q={EMAIL}",
        "abs": "https://x.example/?p=%2B86%20138",
        "m": "mailto:a%20b@example.com",
    }


def test_escaped_spellings_are_replaced_whole(render: Render) -> None:
    body = '{"a":"' + EMAIL.replace("@", "\\u0040") + '","b":"' + PHONE.replace("+", "\\u002B") + ' x"}'
    out = json.loads(render(Media.JSON, body, {EMAIL: "a@example.com", PHONE: "+8613800138000"}))
    assert out == {"a": "a@example.com", "b": "+8613800138000 x"}


def test_masked_and_hidden_values_take_the_wire_form(render: Render) -> None:
    body = json.dumps({"e": EMAIL, "n": NAME, "t": f"call {NAME}"})
    shown = {EMAIL: Shown(Form.MASKED, "z***", "z.abc@x.masked.invalid"), NAME: Shown(Form.HIDDEN, "••••", NAME)}
    assert json.loads(render(Media.JSON, body, shown)) == {
        "e": "z.abc@x.masked.invalid",
        "n": NAME,
        "t": f"call {NAME}",
    }


def test_unknown_surrogates_stay(render: Render) -> None:
    body = json.dumps({"e": EMAIL})
    assert render(Media.JSON, body, {}).decode() == body


def test_surrogates_as_keys_and_numbers(render: Render) -> None:
    body = f'{{"{NAME}": 1, "p": 88871234567890}}'.replace("88871234567890", PHONE[1:])
    out = render(Media.JSON, body, {NAME: 'a"b', PHONE: "+8613800138000"})
    assert json.loads(out)['a"b'] == 1


def test_recognisers_see_strings_and_keys_but_no_numbers(render: Render, mask_phones: Net) -> None:
    body = '{"p":"13800138000","n":13800138000,"13800138000":"x\\n138\\u00300138000","h":"<b>13800138000</b>","s":"x"}'
    out = render(Media.JSON, body, {}, net=mask_phones).decode()
    assert out == (
        '{"p":"138****8000","n":13800138000,"138****8000":"x\\n138****8000","h":"<b>138****8000</b>","s":"x"}'
    )


def test_recognisers_work_behind_other_characters(render: Render, mask_phones: Net) -> None:
    body = json.dumps({"a": "张伟 13800138000 é zhang@example.com", "b": NAME + " 13800138000"}, ensure_ascii=False)
    out = json.loads(render(Media.JSON, body, {NAME: "13800138000"}, net=mask_phones))
    assert out == {"a": "张伟 138****8000 é z***@example.com", "b": "13800138000 138****8000"}


def test_json_lines_and_padding(render: Render) -> None:
    body = f'{{"a":"{NAME}"}}\n{{"a":"{NAME}"}}\n'
    out = render(Media.JSON, body, {NAME: '"'}).decode().splitlines()
    assert [json.loads(line)["a"] for line in out] == ['"', '"']


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab.@"\\é', max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_leaves_have_their_paths_and_unchanged_documents_their_bytes(value: object, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only, indent=1).encode()
    document = open_json(data)
    assert document.encode() == data
    for leaf in document.leaves:
        node = value
        for step in leaf.path:
            node = node[int(step)] if isinstance(node, list) else node[step]  # type: ignore[index]
        assert leaf.text == (str(node) if leaf.bare else node)


@given(VALUES, st.text(st.characters(exclude_categories=("Cs",))))
def test_a_changed_leaf_changes_alone(value: object, new: str) -> None:
    document = open_json(json.dumps(value).encode())
    if document.leaves:
        document.leaves[-1].new = new
        again = open_json(document.encode())
        assert [leaf.text for leaf in again.leaves[:-1]] == [leaf.text for leaf in document.leaves[:-1]]
        assert again.leaves[-1].text == new
        assert not again.leaves[-1].bare


def test_siblings_are_the_strings_of_the_same_object() -> None:
    document = open_json(b'[{"type":"mobile","value":"1","x":{"y":"z"},"n":null}]')
    value = next(leaf for leaf in document.leaves if leaf.path == ("0", "value"))
    assert dict(value.siblings) == {"type": "mobile", "value": "1"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"a":1,"a":2}', "json-duplicate-key"),
        (b'{"a":1,"\\u0061":2}', "json-duplicate-key"),
        (b'{"a":"\xff"}', "json"),
        (b'"\\ud800"', "json"),
        (b"\xef\xbb\xbf{}", "json"),
        (b'{"a":1}{}', "json"),
        (b"{'a':1}", "json"),
        (b'{"a":NaN}', "json"),
        (b'["\x00"]', "json"),
        (b"", "json"),
    ],
)
def test_ambiguous_documents_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(BodyMalformed) as caught:
        open_json(data)
    assert caught.value.problem == problem


def test_limits() -> None:
    with pytest.raises(BodyTooDeep):
        open_json(b"[" * 100_000 + b"]" * 100_000)
    assert open_json(b'["' + b"[" * 1000 + b'"]').leaves
    with pytest.raises(BodyTooLarge):
        open_json(b'"' + b"x" * 100 + b'"', Limits(body=50))
    with pytest.raises(BodyTooLarge):
        open_json(b"[1,2,3]", Limits(leaves=2))


def test_a_leaf_can_become_json_of_any_shape() -> None:
    document = open_json(b'{"p": [ "name" , "ilike" ,"%a%"], "n": 1}')
    for leaf, new in zip(document.leaves, (b'"name"', b'"in"', b'["b","c"]'), strict=False):
        leaf.json = new
    assert document.encode() == b'{"p": [ "name" , "in" ,["b","c"]], "n": 1}'


def test_null_and_false_are_told_apart_from_text_and_never_written() -> None:
    data = b'{"a": null, "b": {"c": false, "d": "x", "e": true}, "f": [null, 0, ""]}'
    document = open_json(data)
    assert [one.path for one in document.blanks] == [("a",), ("b", "c"), ("f", "0")]
    assert all(one.text == "" for one in document.blanks)
    for one in document.blanks:
        one.new = "never"
    assert document.encode() == data
