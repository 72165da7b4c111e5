import pytest
from graphql import language as gql

from policies.graphql.value import DEEPEST, GraphqlUnreadable, Shape, Site, literal, read_json, shallow


def test_every_value_of_a_document_knows_where_it_stands() -> None:
    data = '{"a": "伟\\n", "b": [1, {"c": null}], "d": {}}'.encode()
    root = read_json(data)
    assert root.site == Site("json", 0, len(data))
    a, b = root.members["a"], root.members["b"]
    assert (a.shape, a.text, data[a.site.start : a.site.end].decode()) == (Shape.TEXT, "伟\n", '"伟\\n"')
    assert data[b.site.start : b.site.end] == b'[1, {"c": null}]'
    assert (b.items[0].shape, b.items[1].members["c"].is_null) == (Shape.NUMBER, True)
    assert [one.text for one in root.leaves()] == ["伟\n", "1"]


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a":1,"a":2}', b"[NaN]", b'"\xff"', b'"\\ud800"', b"[" * 100 + b"]" * 100, b"1 2"]
)
def test_what_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(GraphqlUnreadable):
        read_json(data)


def test_no_more_values_are_read_than_anybody_needs() -> None:
    read_json(b"[" + b"1," * 50_000 + b"1]")
    with pytest.raises(GraphqlUnreadable) as caught:
        read_json(b"[" + b"1," * 100_000 + b"1]")
    assert caught.value.problem == "graphql-too-complex"


def test_brackets_in_strings_do_not_nest() -> None:
    assert shallow(b'["' + b"[" * 100 + b'"]')
    assert not shallow(b"[" * (DEEPEST + 1))


def test_a_variable_is_its_value_and_remembers_its_use() -> None:
    node = gql.parse_value('{a: $v, b: [$w, RED, """x"""], c: true}')
    given = read_json(b'{"v": "x"}').members["v"]
    value = literal(node, {"v": given, "w": None})
    assert (value.members["a"].text, value.members["a"].variable) == ("x", "v")
    assert value.members["a"].site == given.site
    assert value.members["a"].use == Site("text", 4, 6)
    unset, color, block = value.members["b"].items
    assert (unset.is_null, color.text, color.shape, block.text) == (True, "RED", Shape.OTHER, "x")
    with pytest.raises(GraphqlUnreadable):
        literal(node, {"v": given})
    with pytest.raises(GraphqlUnreadable):
        literal(gql.parse_value("{a: 1, a: 2}"), {})
