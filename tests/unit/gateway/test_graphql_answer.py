"""Errors of a GraphQL server tell nothing to those who do not see everything."""

from datetime import UTC, datetime

import pytest

from gateway.exchange import Exchange, Head
from gateway.graphql_answer import silenced
from gateway.refusal import Refusal
from policies.decision import Decision, FieldView

BODY = b'{"errors":[{"message":"x@y.z exists","extensions":{"code":"TAKEN"}}],"data":null}'


def exchange(language: str, *, everything: bool) -> Exchange:
    made = Exchange("x1", datetime(2026, 3, 1, tzinfo=UTC), Head("POST", "/", "/", "", "crm", (), True, None))
    made.language = language
    made.decision = Decision(True, "allowed", FieldView("1", {}, {}, sees_everything=everything))
    return made


def test_messages_are_kept_for_those_who_see_everything() -> None:
    assert silenced(exchange("en", everything=True), BODY) == BODY


@pytest.mark.parametrize(("language", "words"), [("en", "refused"), ("zh", "拒绝"), ("fr", "refused")])
def test_others_learn_that_there_is_an_error(language: str, words: str) -> None:
    told = silenced(exchange(language, everything=False), BODY).decode()
    assert "x@y.z" not in told
    assert words in told
    assert '"code":"TAKEN"' in told


def test_an_answer_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(Refusal):
        silenced(exchange("en", everything=False), b'{"errors":[')
