"""Batches: one body that holds several requests, and how a JSON body of that kind is taken apart.

Each part is classified as if it came alone. Pure functions over a document that was read strictly
(`condition.read_document`); what does not have the shape that the profile promises is `BatchUnreadable`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from policies.condition import pointer_of, value_at

Path = tuple[str, ...]
LIMIT = 1000
"""Most parts of one batch: as many as Dataverse takes, more than any other CRM does."""
_PLACE = re.compile(r"\{([^{}]+)\}")
_SAFE = re.compile(r"[A-Za-z0-9_.~-]{1,200}\Z")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


class BatchUnreadable(ValueError):  # noqa: N818 - a state of the request
    """A batch whose parts cannot be told apart for certain."""

    permanent = True


@dataclass(frozen=True, slots=True)
class BatchRule:
    """How a batch is read.

    kind: "multipart-http" (multipart/mixed with application/http parts) or "json". For the latter: parts: path to the
    list; method, url: a literal, or a path inside the part; in a literal url `{name}` is a parameter of the batch's own
    path and `{/path}` a member of the part; base: what a relative url stands behind. body: path inside the part, None:
    parts have none. nested: key under whose members parts hold parts again. reference: a pattern of what later parts
    write instead of a result of earlier ones. results: path to the list of answers in the order of the parts, None: the
    answer does not tell which is whose; status, result: paths inside one of them. params: path inside the part to an
    object of query parameters. label: path inside the part to the name by which its answer is known, told_label: path
    to it inside an answer; then their order says nothing.
    """

    kind: str
    parts: Path = ()
    method: str | Path = "POST"
    url: str | Path = ""
    base: str = "/"
    body: Path | None = ()
    nested: str = ""
    reference: "re.Pattern[str] | None" = None
    results: Path | None = None
    status: Path | None = None
    result: Path = ()
    params: Path | None = None
    label: Path | None = None
    told_label: Path = ()


@dataclass(frozen=True, slots=True)
class PartRead:
    """One part. url_at: path of the leaf that holds its address, None where it follows from the batch; place: path of
    its body in the document, None without one; value: that body; params_at: path of the object whose members are the
    query of `url`, None where the query stands in the address; label: the name of its answer."""

    method: str
    url: str
    url_at: Path | None
    place: Path | None
    value: Any
    params_at: Path | None = None
    label: str = ""


def compile_batch(source: Mapping[str, Any]) -> BatchRule:
    """A `batch:` of a profile."""
    answer = source.get("answer", {})
    body = source.get("body", "")
    return BatchRule(
        source["kind"],
        pointer_of(source.get("parts", "")),
        _told(source.get("method", "POST")),
        _told(source.get("url", "")),
        source.get("base", "/"),
        None if body is None else pointer_of(body),
        source.get("nested", ""),
        re.compile(source["reference"]) if "reference" in source else None,
        pointer_of(answer["parts"]) if "parts" in answer else None,
        pointer_of(answer["status"]) if "status" in answer else None,
        pointer_of(answer.get("body", "")),
        pointer_of(source["params"]) if "params" in source else None,
        pointer_of(source["label"]) if "label" in source else None,
        pointer_of(answer.get("label", "")),
    )


def split(rule: BatchRule, document: Any, parameters: Mapping[str, str]) -> list[PartRead]:
    """The parts of a JSON batch in their order; raises BatchUnreadable."""
    found = list(_split(rule, value_at(document, rule.parts), rule.parts, parameters))
    if not found:
        raise BatchUnreadable("no parts")
    return found


def results(rule: BatchRule, answer: Any, labels: Sequence[str]) -> list[tuple[int, Any]]:
    """(status, body) of each part as the answer tells them; empty where it does not tell all of them.

    labels: that of each part, in order; they count only where the rule has some.
    """
    listed = None if rule.results is None or (rule.nested and rule.label is None) else value_at(answer, rule.results)
    if not isinstance(listed, list) or len(listed) != len(labels):
        return []
    if rule.label is not None:
        told = {value_at(one, rule.told_label): one for one in listed if isinstance(one, dict)}
        if len(set(labels)) != len(labels) or set(told) != set(labels):
            return []
        listed = [told[one] for one in labels]
    return [(_status(rule, one), value_at(one, rule.result)) for one in listed]


def _status(rule: BatchRule, result: Any) -> int:
    if rule.status is None:
        return 200
    told = value_at(result, rule.status)
    if isinstance(told, bool):
        return 200 if told else 400
    return told if isinstance(told, int) else 500


def _split(rule: BatchRule, listed: Any, at: Path, parameters: Mapping[str, str]) -> Iterator[PartRead]:
    if not isinstance(listed, list) or len(listed) > LIMIT:
        raise BatchUnreadable("parts")
    for number, part in enumerate(listed):
        place = (*at, str(number))
        if not isinstance(part, dict) or not _one_spelling(part):
            raise BatchUnreadable("part")
        inner = {key: value for key, value in part.items() if _holds_parts(rule, value)}
        yield _part(rule, part, place, parameters, inner)
        for key, value in inner.items():
            yield from _split(rule, value[rule.nested], (*place, key, rule.nested), parameters)


def _holds_parts(rule: BatchRule, value: Any) -> bool:
    return bool(rule.nested) and isinstance(value, dict) and isinstance(value.get(rule.nested), list)


def _one_spelling(part: Mapping[str, Any]) -> bool:
    """Whether no member comes in two spellings: of `id` and `Id` a CRM without case could take the other one."""
    inner = (value for value in part.values() if isinstance(value, dict))
    return all(len({key.casefold() for key in one}) == len(one) for one in (part, *inner))


def _part(
    rule: BatchRule, part: Mapping[str, Any], place: Path, parameters: Mapping[str, str], inner: Mapping[str, Any]
) -> PartRead:
    method = rule.method if isinstance(rule.method, str) else value_at(part, rule.method)
    if not isinstance(method, str) or method.upper() not in _METHODS:
        raise BatchUnreadable("method")
    url_at = None
    if isinstance(rule.url, str):
        url = _filled(rule.url, part, parameters)
    else:
        url, url_at = value_at(part, rule.url), (*place, *rule.url)
        if not isinstance(url, str):
            raise BatchUnreadable("url")
        if not url.startswith("/") and "://" not in url:
            url = rule.base + url
    query = _query(rule, part)
    params_at = (*place, *(rule.params or ())) if query else None
    if query:
        if "?" in url:
            raise BatchUnreadable("params")  # of two queries nobody knows which counts
        url += "?" + query
    label = value_at(part, rule.label) if rule.label is not None else ""
    value = None if rule.body is None else value_at(part, rule.body)
    at = None if value is None else (*place, *(rule.body or ()))
    if inner and isinstance(value, dict):
        value = {key: one for key, one in value.items() if key not in inner}
    return PartRead(method.upper(), url, url_at, at, value, params_at, label if isinstance(label, str) else "")


def _query(rule: BatchRule, part: Mapping[str, Any]) -> str:
    """The query that a part gives as an object; "" without one."""
    given = None if rule.params is None else value_at(part, rule.params)
    if given is None:
        return ""
    if not isinstance(given, dict):
        raise BatchUnreadable("params")
    for value in given.values():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise BatchUnreadable("params")
        if rule.reference is not None and rule.reference.search(str(value)):
            raise BatchUnreadable("reference")  # it would compare values nobody here has seen
    return urlencode(given)


def _filled(template: str, part: Mapping[str, Any], parameters: Mapping[str, str]) -> str:
    def value(match: "re.Match[str]") -> str:
        name = match.group(1)
        found = value_at(part, pointer_of(name)) if name.startswith("/") else parameters.get(name)
        text = str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
        if not _SAFE.match(text):
            raise BatchUnreadable("url")
        return text

    return _PLACE.sub(value, template)


def _told(source: Any) -> str | Path:
    return pointer_of(source["at"]) if isinstance(source, dict) else str(source)


def under(place: Sequence[str], path: Sequence[str]) -> bool:
    """Whether a path leads into a place."""
    return len(path) >= len(place) and tuple(path[: len(place)]) == tuple(place)
