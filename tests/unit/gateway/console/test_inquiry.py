"""The form of the auditor's console: what was typed is a question or a named mistake, and its address says it again."""

from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.console.inquiry import PROBLEMS, place_text, read_inquiry, read_place

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
_FORM = st.dictionaries(
    st.sampled_from(["by", "what", "record", "person", "kind", "form", "outcome", "period", "since", "until", "other"]),
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(["customer", "person", "record", "field", "contact.phone", "42", "2y", "all", "2026-01-01"]),
    ),
)


@given(_FORM)
def test_any_form_is_a_question_or_a_mistake_with_words(form: dict[str, str]) -> None:
    inquiry = read_inquiry(form)
    problem = inquiry.problem()
    assert problem == "" or problem in PROBLEMS
    if not problem:
        question = inquiry.question(NOW, actor=inquiry.person, names=[inquiry.record], field=inquiry.field)
        assert question.terms
    assert read_inquiry(dict(parse_qsl(inquiry.query().removeprefix("?")))) == inquiry


@pytest.mark.parametrize(
    ("period", "since", "until", "first"),
    [
        ("2y", "", "", datetime(2024, 11, 27, 9, tzinfo=UTC)),
        ("all", "", "", None),
        ("2y", "2026-01-01", "", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2y", "", "2020-01-01", None),
        ("nonsense", "", "", datetime(2024, 11, 27, 9, tzinfo=UTC)),
    ],
)
def test_days_are_taken_before_a_period(period: str, since: str, until: str, first: datetime | None) -> None:
    form = {"what": "contact", "record": "42", "period": period, "since": since, "until": until}
    assert read_inquiry(form).question(NOW, actor="", names=["42"], field="").since == first


def test_a_place_comes_back_from_its_text_and_nothing_else_does() -> None:
    place = (NOW, 4711)
    assert read_place(place_text(place)) == place
    for wrong in ("", "~", "2026-01-01~1", "2026-01-01T00:00:00+00:00~-1", "x~1", f"{NOW.isoformat()}~{'9' * 19}"):
        assert read_place(wrong) is None
