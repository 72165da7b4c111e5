"""Errors of a GraphQL server tell nothing to those who do not see everything."""

from datetime import UTC, datetime

import pytest

from gateway.body.media import Media
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
    assert silenced(exchange("en", everything=True), Media.JSON, BODY) == BODY


@pytest.mark.parametrize(("language", "words"), [("en", "refused"), ("zh", "拒绝"), ("fr", "refused")])
def test_others_learn_that_there_is_an_error(language: str, words: str) -> None:
    told = silenced(exchange(language, everything=False), Media.JSON, BODY).decode()
    assert "x@y.z" not in told
    assert words in told
    assert '"code":"TAKEN"' in told


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (Media.JSON, b'{"errors":['),
        (Media.JSON, b'{"data":{"a":"x"}}\n{"data":{"a":"y"}}'),
        (Media.TEXT, b'event: next\ndata: {"data":{"a":"x"}}\n'),
        (Media.HTML, b"<p>x</p>"),
    ],
)
def test_an_answer_that_is_no_single_document_is_refused(kind: Media, body: bytes) -> None:
    with pytest.raises(Refusal):
        silenced(exchange("en", everything=False), kind, body)
    assert silenced(exchange("en", everything=True), kind, body) == body
