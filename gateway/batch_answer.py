"""Answers to batches: each part of them teaches what it would teach alone, and is rendered for the person who asked.

A JSON answer is one document, whose surrogates are rendered wherever they stand; a multipart one is opened part by part
and written anew. Where an answer does not say which of its parts is whose, nothing is bound by it.
"""

import secrets
from collections.abc import Awaitable, Callable

import orjson

from gateway.batch import Batch
from gateway.binding import Binding
from gateway.body import multipart_http
from gateway.body.fault import BodyFault
from gateway.collaborators import Fields
from gateway.exchange import Exchange
from gateway.refusal import CRM_ANSWER_UNREADABLE, Refusal
from policies.batch import results
from policies.operation import Action
from policies.profile import Profile
from policies.unique import tells

_JSON: Fields = [("content-type", "application/json")]  # what a part of a JSON answer is, too
_TAKEN = frozenset({200, 201, 202, 204})
_DROPPED = frozenset({"content-length", "set-cookie", "www-authenticate"})
# (exchange of a part, its status, fields, body) → fields and body for the person
Render = Callable[[Exchange, int, Fields, bytes], Awaitable[tuple[Fields, bytes]]]


async def learn(binding: Binding, batch: Batch, profile: Profile, status: int, fields: Fields, body: bytes) -> None:
    """What a JSON answer teaches about each part; raises StoreUnavailable."""
    try:
        answer = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        answer = None
    told = results(batch.rule, answer, batch.labels) if status < 400 else []
    for number, inner in enumerate(batch.exchanges):
        if told:
            part_status, part = told[number]
            await binding.learn(inner, profile, part_status, _JSON, orjson.dumps(part) if part is not None else b"")
        elif inner.operation is not None and inner.operation.action is not Action.CREATE and status in (200, 201, 204):
            await binding.learn(inner, profile, status, fields, body)  # all of it was taken, or none


def says_taken(batch: Batch, status: int, content_type: str, body: bytes) -> bool:
    """Whether a part of an answer says that a value is taken; so does an answer whose parts cannot be told."""
    rules = [inner.operation.unique if inner.operation is not None else None for inner in batch.exchanges]
    if status not in _TAKEN:
        return True
    if batch.rule.kind == "multipart-http":
        declared = list(dict.fromkeys(rule for rule in rules if rule is not None))
        try:
            messages = multipart_http.read(content_type, body, framed=False)
            return any(tells(rule, one.status, one.body) for one in messages for rule in declared)
        except BodyFault:
            return True
    if batch.rule.results is None:
        return False  # all of it was taken, or none
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return True
    told = results(batch.rule, answer, batch.labels)
    return not told or any(
        rule is not None and tells(rule, part_status, orjson.dumps(part))
        for rule, (part_status, part) in zip(rules, told, strict=True)
    )


async def render(
    batch: Batch, exchange: Exchange, content_type: str, fields: Fields, body: bytes, show: Render
) -> tuple[Fields, bytes]:
    """A multipart answer for this person; raises what rendering one answer raises, and Refusal."""
    messages = multipart_http.read(content_type, body, framed=False)
    asked: dict[int, list[Exchange]] = {}
    for part in batch.parts:
        assert part.message is not None
        asked.setdefault(part.message.place, []).append(part.exchange)
    given: dict[int, list[multipart_http.Http]] = {}
    for message in messages:
        given.setdefault(message.place, []).append(message)
    for place, answers in given.items():
        inner = asked.get(place, [])
        if len(answers) > len(inner):
            raise Refusal(CRM_ANSWER_UNREADABLE, detail="batch")
        # A change set that failed has one answer for all of it.
        whole = len(answers) == 1 and len(inner) > 1
        for number, one in enumerate(inner if whole else inner[: len(answers)]):
            await _shown(answers[0 if whole else number], one, show, last=not whole or number == len(inner) - 1)
    for one in batch.exchanges:
        for key, count in one.shown.items():
            exchange.shown[key] = exchange.shown.get(key, 0) + count
        exchange.beside |= one.beside
        for kind, count in one.caught.items():
            exchange.caught[kind] = exchange.caught.get(kind, 0) + count
    new_type, written = multipart_http.write(messages, secrets.token_hex)
    return [(name, new_type if name == "content-type" else value) for name, value in fields], written


async def _shown(message: multipart_http.Http, inner: Exchange, show: Render, *, last: bool) -> None:
    kept = [pair for pair in message.fields if pair[0] not in _DROPPED]
    fields, body = await show(inner, message.status, kept, message.body)
    if last:
        message.fields, message.body = fields, body
