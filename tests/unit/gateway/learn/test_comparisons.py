"""Comparisons of a learnt profile: no sort parameter, number of a column or lookup is left without a judge."""

from gateway.learn.comparisons import comparisons_of
from gateway.learn.proposal import Field
from policies.comparison import ORDER, PART, By, Compared, compile_comparisons, find
from policies.operation import FieldSpec, Where
from policies.taxonomy import Kind

NAME = Field("contact", "last_name", "name", 0.9, [], source="last_name")
PHONE = Field("contact", "phone", "phone", 0.9, [], source="phone")
BOX = {"query_q": [{"where": "query", "select": "q"}, {"where": "query", "select": "email"}]}


def compared(where: Where, leaves: dict[tuple[str, ...], str], *, calls: bool = False) -> list[Compared]:
    def resolve(name: str | None, _entity: str, _place: str) -> FieldSpec:
        owner, _, short = str(name).partition(".")
        return FieldSpec(owner, short, Kind.NAME, 100)

    rules = compile_comparisons(
        comparisons_of([NAME, PHONE], {"cell-surname": "contact.last_name"}, BOX, calls=calls), resolve
    )
    return list(find(rules, "contact.list", where, leaves))


def test_an_order_by_name_by_number_or_by_the_name_of_a_column_is_seen_under_every_usual_parameter() -> None:
    for parameter in ("o", "ordering", "sort", "sort_by", "$orderby"):
        for column in ("last_name", "-phone", "cell-surname", "2", "3.-1", "-12"):
            assert [one for one in compared(Where.QUERY, {(parameter,): column}) if one.comparison == ORDER], column
    assert not compared(Where.QUERY, {("ordering",): "created_at"})


def test_a_lookup_in_the_address_is_a_comparison_and_a_box_looks_into_every_field() -> None:
    assert [one.comparison for one in compared(Where.QUERY, {("phone__startswith",): "+86138"})] == ["startswith"]
    (box,) = compared(Where.QUERY, {("q",): "138"})
    assert (box.comparison, {one.name for one in box.fields}) == (PART, {"last_name", "phone"})


def test_conditions_and_orders_of_calls_are_judged_only_where_there_are_calls() -> None:
    condition = {("params", "0", "0", "0"): "last_name", ("params", "0", "0", "1"): ">", ("params", "0", "0", "2"): "M"}
    assert [one.comparison for one in compared(Where.JSON, condition, calls=True)] == [">"]
    assert not compared(Where.JSON, condition)


def test_nothing_is_compared_where_nothing_is_declared() -> None:
    assert comparisons_of([], {}, BOX, calls=True) == []
    assert By.NAMED in {By(one["by"]) for one in comparisons_of([NAME], {}, {}, calls=False)}
