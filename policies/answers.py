"""What answers of a CRM tell: ids of created records, who signed in, credentials, facts of an installation.

Pure functions over status, headers and body; a body that cannot be read tells nothing. Only plain ids leave this
module, apart from the login name and the credential that the caller asked for.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
from selectolax.lexbor import LexborHTMLParser

from policies import element, soap
from policies.condition import compile_places, fits
from policies.matcher import PathTrie, plain_path
from policies.operation import Operation
from policies.record_id import RecordIds
from policies.xml_document import element_selector, texts_at

Headers = Sequence[tuple[str, str]]
NO_ERROR = (None, False)
"""Members named `error` that say there was none; some CRMs write one into every answer."""


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _at(value: Any, path: Sequence[str]) -> Any:
    for number, step in enumerate(path):
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step == "*":
            # Several records at once: all of them have to be told, or nobody knows which value went where.
            each = [_at(one, path[number + 1 :]) for one in value]
            return each if all(one is not None for one in each) else None
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value) or None


def _ids(value: Any, shape: RecordIds) -> list[str]:
    found = [_text(item) for item in (value if isinstance(value, list) else [value])]
    return [one for item in found if item is not None and (one := shape.canonical(item.strip())) is not None]


def records(
    rule: Mapping[str, Any] | None,
    pages: PathTrie[str],
    operation: Operation,
    status: int,
    headers: Headers,
    body: bytes,
    shape: RecordIds = RecordIds.NUMBER,
) -> list[tuple[str, str]]:
    """(entity, record) pairs of a create: from `Location` or another header, a JSON pointer, or an RPC result."""
    if rule is None or status >= 400 or not operation.binds:
        return []
    if "location" in rule and 300 <= status < 400:
        location = next((value for name, value in headers if name.lower() == "location"), "")
        path = plain_path(urlsplit(location).path or "/") if location else None
        found = pages.find(path) if path is not None else None
        if found is None or operation.entity not in (found[0], "record"):
            return []
        return [(found[0], found[1]["record"])]
    if "header" in rule and 200 <= status < 300:
        url = next((value for name, value in headers if name.lower() == rule["header"]), "")
        path = plain_path(urlsplit(url).path or "/") if url else None
        found = pages.find(path) if path is not None else None
        if found is not None and operation.entity == found[0]:
            return [(found[0], found[1]["record"])]
    if "element" in rule and 200 <= status < 300 and body.lstrip()[:1] == b"<":
        document = soap.document_of(body)
        if document is None or soap.is_fault(document):
            return []
        places = [element_selector(one) for one in rule["element"]]
        return [(operation.entity, number) for number in element.ids_of(document, places, shape)]
    if "json" in rule and 200 <= status < 300:
        answer = _json(body)
        if isinstance(answer, dict) and answer.get("error") not in NO_ERROR:
            return []
        for pointer in rule["json"]:
            ids = _ids(_at(answer, pointer), shape)
            if ids:
                return [(operation.entity, number) for number in ids]
    return []


def _cookie_set(headers: Headers, name: str) -> str | None:
    for key, value in headers:
        if key.lower() == "set-cookie" and value.startswith(name + "="):
            return value[len(name) + 1 :].partition(";")[0].strip().strip('"') or None
    return None


def login(
    rule: Mapping[str, Any],
    operation: Operation,
    request_body: bytes,
    status: int,
    headers: Headers,
    answer_body: bytes,
) -> tuple[str | None, str | None, str | None]:
    """(credential, login, CRM user key) of a successful login; all None otherwise.

    The rule that applies is the one listed under the operation's id.
    """
    nothing = (None, None, None)
    entry = rule.get(operation.id)
    if entry is None or status not in entry["status"]:
        return nothing
    answer = _json(answer_body) if any("json" in entry.get(part, {}) for part in ("token", "user")) else None
    token_rule = entry.get("token")
    if token_rule is None:  # a question of somebody who is signed in: whom the CRM takes him for
        user = _text(_first_at(answer, entry.get("user", {}).get("json", ())))
        return None, _login_name(entry.get("login"), request_body, answer), user
    if "cookie" in token_rule:
        token = _cookie_set(headers, token_rule["cookie"])
        token = _last_part(token, token_rule.get("last_part"))
    elif "element" in token_rule:
        token = soap.first_text(answer_body, token_rule["element"])
    else:
        token = _text(_first_at(answer, token_rule["json"]))
    if token is None:
        return nothing
    user = _text(_first_at(answer, entry.get("user", {}).get("json", ())))
    return token, _login_name(entry.get("login"), request_body, answer), user


def further_tokens(rule: Mapping[str, Any], operation: Operation, status: int, answer_body: bytes) -> tuple[str, ...]:
    """Credentials that a successful login gives beside the first one, such as a refresh token."""
    entry = rule.get(operation.id, {})
    if "others" not in entry or status not in entry["status"]:
        return ()
    answer = _json(answer_body)
    found = (_text(_at(answer, pointer)) for pointer in entry["others"]["json"])
    return tuple(token for token in found if token is not None)


def _first_at(answer: Any, pointers: Sequence[Sequence[str]]) -> Any:
    for pointer in pointers:
        value = _at(answer, pointer)
        if value is not None:
            return value
    return None


def _login_name(rule: Mapping[str, Any] | None, body: bytes, answer: Any) -> str | None:
    """As what somebody signed in: typed in a form or in JSON, or told by the answer."""
    if rule is None:
        return None
    if "answer" in rule:
        return _text(_first_at(answer, rule["answer"]))
    if "form" in rule:
        try:
            pairs = parse_qsl(body.decode("utf-8", "replace"), max_num_fields=100)
        except ValueError:
            return None
        return next((value for name, value in pairs if name == rule["form"]), None)
    return _text(_first_at(_json(body), rule["json"]))


def _last_part(value: str | None, separator: str | None) -> str | None:
    if value is None or separator is None:
        return value
    return unquote(value).rpartition(separator)[2] or None


def credentials(rules: Sequence[Mapping[str, Any]], headers: Headers) -> tuple[str, ...]:
    """Every CRM credential that a request carries, in the form that `login` reports it."""
    found: dict[str, None] = {}
    for rule in rules:
        if "json" in rule or "element" in rule:
            continue  # in bodies: Profile.body_credentials
        if "body" in rule:
            continue  # see policies.credential
        for text in _from_cookie(rule, headers) if "cookie" in rule else _from_header(rule, headers):
            found[text] = None
    return tuple(found)


def _from_cookie(rule: Mapping[str, Any], headers: Headers) -> list[str]:
    """Every value of the cookie: which of two same-named cookies a CRM reads is its own affair."""
    found = []
    for key, value in headers:
        if key.lower() == "cookie":
            for crumb in value.split(";"):
                name, _, text = crumb.partition("=")
                if name.strip() == rule["cookie"]:
                    part = _last_part(text.strip().strip('"'), rule.get("last_part"))
                    if part:
                        found.append(part)
    return found


def _from_header(rule: Mapping[str, Any], headers: Headers) -> list[str]:
    found = []
    for key, value in headers:
        if key.lower() != rule["header"]:
            continue
        text = value.strip()
        if "scheme" in rule:
            scheme, _, text = text.partition(" ")
            if scheme.lower() != rule["scheme"]:
                continue
        if rule.get("base64"):
            try:
                text = base64.b64decode(text.strip(), validate=False).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                continue
        part = _last_part(text.strip(), rule.get("last_part"))
        if part:
            found.append(part)
    return found


def css_value(status: int, body: bytes, selector: str, attribute: str) -> str | None:
    """The attribute of the first element a CSS selector finds on a 200 page."""
    if status != 200:
        return None
    node = LexborHTMLParser(body).css_first(selector)
    return None if node is None else node.attributes.get(attribute) or None


def json_value(status: int, body: bytes, path: Sequence[str]) -> str | None:
    """The text or number at a JSON path of a 200 answer."""
    return _text(_at(_json(body), path)) if status == 200 else None


def facts(discoveries: Sequence[Mapping[str, str]], path: str, status: int, body: bytes) -> dict[str, str]:
    """Type ids that a page of the CRM tells (type id → entity), by the profile's patterns; only decimal numbers."""
    found: dict[str, str] = {}
    if status != 200:
        return found
    plain = plain_path(path)
    for rule in discoveries:
        if rule["path"] == plain:
            match = re.search(rule["pattern"].encode("ascii"), body)
            number = RecordIds.NUMBER.canonical(match.group(1).decode("latin-1")) if match else None
            if number is not None:
                found[number] = rule["entity"]
    return found


def _leads_to(headers: Headers, pattern: str) -> bool:
    """Whether the answer redirects to a path of this pattern (fnmatch; the query does not count)."""
    location = next((value for name, value in headers if name.lower() == "location"), "")
    return fnmatchcase(urlsplit(location).path, pattern)


def _says(wanted: Mapping[str, str], body: bytes) -> bool:
    """Whether an XML answer is no fault, and every text at these places is what it has to be, at least one at each."""
    document = soap.document_of(body)
    if document is None or soap.is_fault(document):
        return False
    told = {place: texts_at(document, element_selector(place)) for place in wanted}
    return all(texts and set(texts) == {wanted[place]} for place, texts in told.items())


def accepted(
    rules: Sequence[Mapping[str, Any]], operation: Operation, status: int, headers: Headers, body: bytes
) -> bool:
    """Whether the CRM says that a write took effect, by the profile's rules; without rules any status below 400."""
    if not rules:
        return status < 400
    media = next((value for name, value in headers if name.lower() == "content-type"), "").partition(";")[0]
    for rule in rules:
        if rule["status"] != status or rule.get("media", media.strip().lower()) != media.strip().lower():
            continue
        if "without" in rule and rule["without"].encode() in body:
            continue
        if "location" in rule and not _leads_to(headers, rule["location"]):
            continue
        if "json_without" in rule:
            answer = _json(body)
            if answer is None or (isinstance(answer, dict) and answer.get(rule["json_without"]) not in NO_ERROR):
                continue
        if "json" in rule and not fits(compile_places(rule["json"]), _json(body)):
            continue
        if "xml" in rule and not _says(rule["xml"], body):
            continue
        return True
    return False
