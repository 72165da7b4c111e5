"""Answers of a GraphQL server: which part succeeded, which record it made, and which declared field is behind a key.

Keys of an answer are whatever the request called them, so everything here goes by what was asked, never by a name.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from policies.graphql.asked import Asked
from policies.graphql.part import Part, Shown
from policies.graphql.value import Shape, Value, read_json
from policies.operation import FieldSpec

NEW_RECORD: Mapping[str, Any] = {"json": [["id"]]}
"""Where `told` puts the id of a new record."""
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,60}\Z")
_NAME = re.compile(r"[_A-Za-z][_A-Za-z0-9]{0,200}\Z")


def told(asked: Asked, answer: Any) -> Iterator[tuple[Part, int, Any]]:
    """(part, status, what names its new record) of every part that the server ran.

    An error with status 200 is a failure of the part that it names, or of all where it names none.
    """
    for part in asked.parts:
        if not part.executed:
            continue
        one = _of_call(asked, answer, part)
        data = one.get("data") if isinstance(one, dict) else None
        value = data.get(part.key) if isinstance(data, dict) else None
        failed = value is None or _failed(one.get("errors"), part.key) or _refused(part, value)
        yield part, 400 if failed else 200, {"id": _at(value, part.record)} if part.record else {}


def clear_places(asked: Asked, answer: Any) -> Iterator[tuple[str, FieldSpec]]:
    """Texts of the answer that stand where a declared field was asked for, under whatever name."""
    for part in asked.parts:
        one = _of_call(asked, answer, part)
        data = one.get("data") if isinstance(one, dict) else None
        if isinstance(data, dict) and part.key in data:
            yield from _texts(data[part.key], part.shown)


def quiet(body: bytes, words: str) -> bytes:
    """An answer whose errors say no more than that there is one; raises GraphqlUnreadable.

    Messages repeat values, and name fields of the schema that somebody only guessed. words: what they say instead.
    """
    if b'"errors"' not in body and b'"extensions"' not in body:
        return body
    root = read_json(body)
    edits: list[tuple[Value, Any]] = []
    for one in root.items if root.shape is Shape.LIST else [root]:
        errors, extensions = one.members.get("errors"), one.members.get("extensions")
        if errors is not None and not errors.is_null:
            edits.append((errors, [_bare(body, error, words) for error in errors.items]))
        if extensions is not None and not extensions.is_null:
            edits.append((extensions, {}))
    parts: list[bytes] = []
    at = 0
    for value, new in sorted(edits, key=lambda edit: edit[0].site.start):
        parts += [body[at : value.site.start], orjson.dumps(new)]
        at = value.site.end
    return b"".join(parts) + body[at:]


def _bare(body: bytes, error: Value, words: str) -> dict[str, Any]:
    given = orjson.loads(body[error.site.start : error.site.end])
    made: dict[str, Any] = {"message": words}
    if not isinstance(given, dict):
        return made
    path, extensions = given.get("path"), given.get("extensions")
    if isinstance(path, list) and all(
        isinstance(one, int) or (isinstance(one, str) and _NAME.match(one)) for one in path
    ):
        made["path"] = path
    code = extensions.get("code") if isinstance(extensions, dict) else None
    if isinstance(code, str) and _CODE.match(code):
        made["extensions"] = {"code": code}
    return made


def _of_call(asked: Asked, answer: Any, part: Part) -> Any:
    if asked.read is None or not asked.read.batched:
        return answer
    return answer[part.call] if isinstance(answer, list) and part.call < len(answer) else None


def _failed(errors: Any, key: str) -> bool:
    if not isinstance(errors, list):
        return errors is not None
    for one in errors:
        path = one.get("path") if isinstance(one, dict) else None
        if not isinstance(path, list) or not path or path[0] == key:
            return True
    return False


def _refused(part: Part, value: Any) -> bool:
    """Whether the part's own result says that nothing was done; also where the request did not ask for that."""
    if not part.failures:
        return False
    return not part.failed or bool(_at(value, part.failed))


def _at(value: Any, keys: Sequence[str]) -> Any:
    for number, key in enumerate(keys):
        if isinstance(value, list):
            return [_at(one, keys[number:]) for one in value]
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _texts(value: Any, shown: Shown) -> Iterator[tuple[str, FieldSpec]]:
    if isinstance(value, list):
        for one in value:
            yield from _texts(one, shown)
    elif isinstance(value, dict):
        for key, one in value.items():
            below = shown.members.get(key)
            if below is not None:
                yield from _texts(one, below)
            elif shown.specs:
                yield from _texts(one, shown)
    elif shown.specs and isinstance(value, str | int | float) and not isinstance(value, bool):
        text = str(value)
        for spec in shown.specs:
            yield text, spec
            yield from ((line, spec) for line in text.splitlines())
