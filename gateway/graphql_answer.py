"""Answers to GraphQL requests: each part teaches what it would teach alone, and errors tell nothing.

Errors come with status 200, and their texts repeat values or name what somebody only guessed.
"""

import orjson

from gateway.binding import Binding
from gateway.body.media import Media
from gateway.exchange import Exchange
from gateway.graphql import GraphqlBatch
from gateway.refusal import CRM_ANSWER_UNREADABLE, Refusal
from gateway.sight import decided
from policies.graphql.answer import quiet, told
from policies.graphql.value import GraphqlUnreadable
from policies.profile import Profile

_FIELDS = [("content-type", "application/json")]
_WORDS = {"en": "The CRM refused this part of the request.", "zh": "CRM 拒绝了请求的这一部分。"}


async def learn(binding: Binding, batch: GraphqlBatch, profile: Profile, status: int, body: bytes) -> None:
    """What an answer teaches about each part that was run; raises StoreUnavailable."""
    assert batch.asked is not None
    try:
        answer = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        answer = None
    by_part = {id(part): exchange for part, exchange in zip(batch.asked.parts, batch.exchanges, strict=True)}
    for part, own, made in told(batch.asked, answer):
        code = status if status >= 400 else own
        await binding.learn(by_part[id(part)], profile, code, _FIELDS, orjson.dumps(made))


def silenced(exchange: Exchange, kind: Media, body: bytes) -> bytes:
    """The answer with errors that tell nothing, for who does not see everything; raises Refusal.

    Only one JSON document can be read along the selection; a stream of events or of documents is refused.
    """
    if decided(exchange).view.sees_everything:
        return body
    try:
        if kind is not Media.JSON:
            raise Refusal(CRM_ANSWER_UNREADABLE, detail="graphql")
        orjson.loads(body)
        return quiet(body, _WORDS.get(exchange.language, _WORDS["en"]))
    except (GraphqlUnreadable, orjson.JSONDecodeError):
        raise Refusal(CRM_ANSWER_UNREADABLE, detail="graphql") from None
