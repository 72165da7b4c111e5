"""Classification of JSON-RPC calls, where one URL serves every object and the body decides.

The method name is split into kind (model, wizard, report, common, system), object and verb. Objects the profile
declares have an entity and body rules of their own; other objects share one template for each known verb; an unknown
verb, an unreadable body, a batch or a body that is not declared as JSON is an unmatched write. No part of the method
name that the profile does not know reaches an operation id.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from policies.operation import UNMATCHED_WRITE, Action, Operation, with_record
from policies.requests import BULK_LIMIT


@dataclass(frozen=True, slots=True)
class RpcTemplate:
    """One compiled call.

    ids: position of the parameter that holds a record id or a list of them; step: distance to further such
    parameters. child: the ids are those of records that hang on another one. parent: key of a new child that names
    its parent.
    """

    plain: Operation
    ids: int | None = None
    step: int | None = None
    child: bool = False
    parent: str = ""


@dataclass(frozen=True, slots=True)
class RpcRules:
    """All calls of a profile: whole method names first, then (kind, object, verb), then (kind, "*", verb)."""

    methods: Mapping[str, RpcTemplate]
    objects: Mapping[tuple[str, str, str], RpcTemplate]
    verbs: Mapping[tuple[str, str], RpcTemplate]
    media_types: frozenset[str]

    def classify(self, body: bytes | None, content_type: str) -> Operation:
        """The operation of one call; never raises."""
        media, _, parameters = content_type.partition(";")
        if body is None or media.strip().lower() not in self.media_types or not _utf8(parameters):
            return UNMATCHED_WRITE
        try:
            call = orjson.loads(body)
        except orjson.JSONDecodeError:
            return UNMATCHED_WRITE
        if not isinstance(call, dict):
            return UNMATCHED_WRITE
        method, params = call.get("method"), call.get("params")
        if not isinstance(method, str):
            return UNMATCHED_WRITE
        template = self.template(method)
        if template is None or (_is_never_opened(template.plain) and _repeats_a_key(body)):
            return UNMATCHED_WRITE
        if not isinstance(params, list):
            return template.plain
        if template.parent:
            parents = _parents(params, template.parent)
            return with_record(template.plain, parents[0]) if len(parents) == 1 else template.plain
        return template.plain if template.ids is None else _with_ids(template, params)

    def template(self, method: str) -> RpcTemplate | None:
        """The template of a method name, or None when nobody modelled it."""
        found = self.methods.get(method)
        if found is not None:
            return found
        kind, _, rest = method.partition(".")
        name, _, verb = rest.rpartition(".")
        if not name:
            return None
        found = self.objects.get((kind, name, verb)) or self.verbs.get((kind, verb))
        if found is None and verb.startswith("on_change_"):
            found = self.objects.get((kind, name, "on_change_*")) or self.verbs.get((kind, "on_change"))
        return found


def _utf8(parameters: str) -> bool:
    """Whether a content type names no other charset than UTF-8 (two readers must not see two texts)."""
    lowered = parameters.replace(" ", "").replace('"', "").lower()
    return "charset=" not in lowered or "charset=utf-8" in lowered or "charset=utf8" in lowered


def _is_never_opened(operation: Operation) -> bool:
    """Whether nothing looks into the body of such a call later."""
    return operation.left_alone or operation.action in (Action.LOGIN, Action.LOGOUT)


def _repeats_a_key(body: bytes) -> bool:
    """Whether an object in the body has a key twice: of two methods a CRM may take the other one (RFC 8259, section 4).

    Asked only of calls that nobody opens; the others are read by somebody who refuses it.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError
        return members

    try:
        json.loads(body, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return True
    return False


def _with_ids(template: RpcTemplate, params: Sequence[Any]) -> Operation:
    """The operation with the ids of the call, bound to them only where each value of the body is for all of them."""
    positions = [template.ids or 0]
    if template.step is not None:
        positions = list(range(template.ids or 0, len(params) - 1, template.step)) or positions
    records = _ids(params, positions)
    if not records:
        return template.plain
    if template.child or len(positions) > 1 or template.plain.action is Action.CREATE:
        return with_record(template.plain, None, touched=records)
    return with_record(template.plain, records[0] if len(records) == 1 else None, records)


def _ids(params: Sequence[Any], positions: Sequence[int]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for position in positions:
        value = params[position] if position < len(params) else None
        for item in value if isinstance(value, list) else [value]:
            if _is_id(item) and len(found) < BULK_LIMIT:
                found[str(item)] = None
    return tuple(found)


def _parents(params: Sequence[Any], key: str) -> tuple[str, ...]:
    """Different parents that the new records of a create name; () as soon as one of them names none."""
    new = params[0] if params and isinstance(params[0], list) else []
    named = [record.get(key) if isinstance(record, dict) else None for record in new]
    if not all(_is_id(value) for value in named):
        return ()
    return tuple(dict.fromkeys(str(value) for value in named))


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
