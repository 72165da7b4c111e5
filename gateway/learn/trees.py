"""Leaves of JSON documents as places, and what a JSON-RPC call is made of."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.learn.vocabulary import vocabulary
from privacy import recognise

_KEY = re.compile(r"[A-Za-z_@$][\w.@$:-]{0,60}|[\u3400-\u9fff][\w\u3400-\u9fff]{0,20}")
OPERATORS = frozenset({
    "=", "!=", "<", ">", "<=", ">=", "in", "not in", "like", "ilike", "not like", "not ilike", "=like", "=ilike",
    "where", "child_of", "contains", "startswith",
})  # fmt: skip
MOST_LEAVES, DEEPEST = 20_000, 40


class Leaf(NamedTuple):
    """A string of a document. path: keys, `*` for an item of a list or a key that is a value itself."""

    path: tuple[str, ...]
    text: str


def is_secret(key: str) -> bool:
    """Whether a key names a password or token: what it holds is not looked at."""
    found = vocabulary().meaning(key)
    return found is not None and found.kind in ("secret", "token")


def is_password(key: str) -> bool:
    """Whether a key names a password: what carries one signs somebody in or sets one."""
    found = vocabulary().meaning(key)
    return found is not None and found.kind == "secret"


def leaves_of(value: Any) -> Iterator[Leaf]:
    """Strings of a document with their places, but for secrets."""
    left = [MOST_LEAVES]
    yield from _leaves(value, (), left)


def _leaves(value: Any, path: tuple[str, ...], left: list[int]) -> Iterator[Leaf]:
    if left[0] <= 0 or len(path) > DEEPEST:
        return
    if isinstance(value, str):
        left[0] -= 1
        yield Leaf(path, value)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one, (*path, "*"), left)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not is_secret(key):
                yield from _leaves(inner, (*path, safe_key(key)), left)


def safe_key(key: str) -> str:
    """A key as it may be kept: one that may be somebody's value becomes `*`."""
    return key if _KEY.fullmatch(key) and not recognise.find(key) else "*"


@dataclass(slots=True)
class RpcCall:
    """One call. keyed: (key, text) of every string under a key; clauses: (column, operator, operand); ids: positions of
    lists of record ids; secret: whether it carries a password; first_text: position of the first text, -1 without."""

    method: str
    keyed: list[tuple[str, str]] = field(default_factory=list)
    clauses: list[tuple[str, str, str]] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    secret: bool = False
    first_text: int = -1


def rpc_call(value: Any) -> RpcCall | None:
    """The call in a document, None when it is none."""
    if not isinstance(value, dict) or not isinstance(value.get("method"), str) or "params" not in value:
        return None
    method = value["method"]
    if not re.fullmatch(r"[A-Za-z_][\w.]{0,120}", method):
        return None
    call, params = RpcCall(method), value["params"]
    for position, one in enumerate(params if isinstance(params, list) else []):
        if isinstance(one, str) and call.first_text < 0:
            call.first_text = position
        items = one if isinstance(one, list) else [one] if position == 0 else []
        if items and all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            call.ids.append(position)
    _take(params, "", call, [MOST_LEAVES])
    return call


def _take(value: Any, key: str, call: RpcCall, left: list[int]) -> None:
    left[0] -= 1
    if left[0] <= 0:
        return
    if isinstance(value, str) and key:
        call.keyed.append((key, value))
    elif isinstance(value, list):
        if (
            len(value) >= 3 and isinstance(value[0], str) and value[1] in OPERATORS
            if len(value) > 1 and isinstance(value[1], str)
            else False
        ):
            operands = value[2] if isinstance(value[2], list) else [value[2]]
            call.clauses += [(value[0], value[1], one) for one in operands if isinstance(one, str)] or [
                (value[0], value[1], "")
            ]
            return
        for one in value:
            _take(one, key, call, left)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if is_secret(name):
                call.secret = call.secret or is_password(name)
            else:
                _take(inner, safe_key(name), call, left)


def result_of(value: Any) -> tuple[bool, Any, str]:
    """(whether it failed, the result, "ids" for a list of record ids, else its type) of the answer to a call."""
    if isinstance(value, dict) and "error" in value and value["error"]:
        return True, None, "error"
    result = value["result"] if isinstance(value, dict) and "result" in value else value
    if (
        isinstance(result, list)
        and result
        and all(isinstance(one, int) and not isinstance(one, bool) for one in result)
    ):
        return False, result, "ids"
    return False, result, type(result).__name__
