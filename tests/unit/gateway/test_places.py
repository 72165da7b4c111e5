"""Places of values in pages: only what stands alone where a rule points, with the record it belongs to."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.places import in_html, in_leaves, opened, rules_of
from policies.date_format import DateFormat
from policies.operation import Action, FieldSpec, Operation, ShownRule, StorageForm, with_record
from policies.taxonomy import Kind

SPEC = FieldSpec(
    "contact", "born", Kind.BIRTH_DATE, 20, StorageForm.BESIDE, (DateFormat("%Y-%m-%d"),), date(1900, 1, 1)
)
READ = with_record(Operation("contact.read", "contact", Action.READ), "5")
BOX = ShownRule(SPEC, ("contact.*",), "input[name=born]", "value")
ROW = ShownRule(SPEC, ("contact.list",), "td.born", row=("tr", "input", "value"))


def places(page: str, *rules: ShownRule, operation: Operation = READ) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(spot.text, spot.records, spot.posted) for spot in in_html(page, rules, operation)]


def test_rules_are_chosen_by_operation() -> None:
    assert rules_of((BOX, ROW), "contact.list") == (BOX, ROW)
    assert rules_of((BOX, ROW), "contact.read") == (BOX,)
    assert rules_of((BOX, ROW), "organisation.read") == ()


def test_a_value_counts_only_whole_and_where_the_rule_points() -> None:
    page = (
        '<input name="born" value="1900-01-01"><input name="other" value="1900-01-01">'
        "<script>var x = '1900-01-01'</script><!-- 1900-01-01 --><p>1900-01-01</p>"
    )
    assert places(page, BOX) == [("1900-01-01", ("5",), True)]
    assert places('<input name="born" value="since 1900-01-01">', BOX) == []
    assert places('<input name="born" value="1900-01-012">', BOX) == []
    assert places("<input name=born value=1900-01-01>", BOX) == [("1900-01-01", ("5",), True)]


def test_rows_have_records_of_their_own() -> None:
    page = "<table>" + "".join(
        f'<tr><td>{number}</td><td class="born"> 1900-01-01 </td></tr>'
        for number in ('<input value="7">', '<input value="x">', "", '<input value="8">')
    )
    found = places(page, ROW)
    assert [records for _, records, _ in found] == [("7",), (), (), ("8",)]
    assert not any(posted for _, _, posted in found)


def test_two_rules_that_disagree_about_whose_it_is_say_nothing() -> None:
    page = '<table><tr><td><input value="7"></td><td class="born">1900-01-01</td></tr></table>'
    assert places(page, ROW, ShownRule(SPEC, ("*",), "td.born")) == []


def test_one_of_several_records_is_chosen_by_number() -> None:
    merge = with_record(Operation("record.merge", "record", Action.UPDATE), None, ("7", "8"))
    page = '<input name="born" value="1900-01-01">'
    for which, records in (((1,), ("7",)), ((2,), ("8",)), ((1, 2), ("7", "8"))):
        rule = ShownRule(SPEC, ("*",), "input[name=born]", "value", which=which)
        assert places(page, rule, operation=merge) == [("1900-01-01", records, True)]
        assert places(page, rule, operation=READ) == [("1900-01-01", (), True)]


@given(st.text(alphabet="<>\"'=/ abinputornvaluezqmark019-", max_size=80), st.text(max_size=20))
def test_offsets_are_those_of_the_page_whatever_it_holds(noise: str, more: str) -> None:
    page = f'{more}<input name="born" value="1900-01-01">{noise}'
    for spot in in_html(page, (BOX,), READ):
        assert page[spot.start : spot.end] == spot.text == "1900-01-01"


@pytest.mark.parametrize("body", [b"", b"[", b"{}{}", b'{"a": NaN}'])
def test_what_is_no_json_has_no_leaves(body: bytes) -> None:
    assert opened(body) is None


def test_leaves_have_the_record_that_stands_beside_them() -> None:
    document = opened(b'{"rows": [{"id": "7", "born": "1900-01-01"}, {"born": "1900-01-01"}], "born": "x"}')
    assert document is not None
    rule = ShownRule(SPEC, ("*",), path=("rows", "*", "born"), key="id")
    assert [spot.records for _, spot in in_leaves(document, (rule,), READ)] == [("7",), ()]
    alone = ShownRule(SPEC, ("*",), path=("born",))
    assert [spot.records for _, spot in in_leaves(document, (alone,), READ)] == [("5",)]


def test_the_record_beside_a_leaf_may_be_a_number() -> None:
    rule = ShownRule(SPEC, ("*",), path=("result", "*", "born"), key="id")
    document = opened(
        b'{"result":[{"born":"1900-01-01","id":7},{"id":"8","born":"x"},{"born":"y"},{"id":[9],"born":"z"}]}'
    )
    assert document is not None
    found = [(leaf.text, spot.records) for leaf, spot in in_leaves(document, [rule], READ)]
    assert found == [("1900-01-01", ("7",)), ("x", ("8",)), ("y", ()), ("z", ())]
