"""Credentials that a CRM takes elsewhere than in a cookie or the Authorization header: other headers, and bodies.

The deny list of the gateway has to see every one of them. What a body might hold in a way that only the CRM can read is
told as unreadable, so that the gateway can refuse it.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson

from policies import element
from policies.condition import Asked, Unreadable, compile_places, fits, joined_at, pointer_of
from policies.soap import declares_xml, document_of

_UTF8 = frozenset({"", "utf-8", "utf8"})
_MOST_FIELDS = 100


class CredentialUnreadable(ValueError):  # noqa: N818 - says what is wrong
    """A body that may hold a credential in a form that is not understood here; another form helps."""

    permanent = True


def header_names(rules: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Header fields beside `authorization` that hold a credential, in lower case."""
    return frozenset(rule["header"] for rule in rules if "header" in rule) - {"authorization"}


def bodies(rules: Sequence[Mapping[str, Any]]) -> Mapping[str, tuple[str, ...]]:
    """Operation id → names of the members of its body that hold a credential."""
    found: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        for operation in rule.get("operations", ()):
            found[operation] = (*found.get(operation, ()), rule["body"])
    return found


def in_body(names: Sequence[str], content_type: str, body: bytes) -> tuple[str, ...]:
    """The credentials in the body of an operation whose members `names` hold them.

    Raises CredentialUnreadable for anything but one JSON object or form in UTF-8.
    """
    media, _, parameters = content_type.partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip().strip('"').lower()
    if not body:
        return ()
    if charset not in _UTF8:
        raise CredentialUnreadable("charset")
    match media.strip().lower():
        case "application/json":
            try:
                told = orjson.loads(body)
            except orjson.JSONDecodeError:
                raise CredentialUnreadable("json") from None
            if not isinstance(told, dict):
                raise CredentialUnreadable("json")
            pairs = [(name, value) for name, value in told.items() if name in names]
            if any(not isinstance(value, str) for _, value in pairs):
                raise CredentialUnreadable("json")
        case "application/x-www-form-urlencoded":
            try:
                pairs = parse_qsl(body.decode("utf-8"), max_num_fields=_MOST_FIELDS)
            except ValueError:
                raise CredentialUnreadable("form") from None
        case _:
            raise CredentialUnreadable("media")
    return tuple(value for name, value in pairs if name in names and value)


def in_document(rules: Sequence[Mapping[str, Any]], content_type: str, body: bytes) -> tuple[str, ...]:
    """CRM credentials in a body that is a JSON or XML document; none where it is neither."""
    elements = [rule["element"] for rule in rules if "element" in rule]
    if elements and body and declares_xml(content_type):
        document = document_of(body)
        return tuple(element.texts_of(document, elements)) if document is not None else ()
    places = [rule for rule in rules if "json" in rule]
    if not places or not body:
        return ()
    try:
        given = Asked({}, "", body, content_type).document
    except Unreadable:
        return ()
    found = (
        joined_at(given, tuple(map(pointer_of, rule["json"])))
        for rule in places
        if "at" not in rule or fits(compile_places(rule["at"]), given)
    )
    return tuple(one for one in found if one is not None)
