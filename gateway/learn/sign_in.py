"""How a CRM signs people in: which field is the login, where the answer has the credential, how requests carry it.

The credential is recognised by what comes back: a long text in the answer to a sign-in that a later request carries in
its authorization header. Only where it stood is kept.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from gateway.learn.evidence import JSON_IN, JSON_OUT, Evidence
from gateway.learn.proposal import Operation
from gateway.learn.trees import is_secret
from gateway.learn.vocabulary import words_of

LEAST_TOKEN, LONG_TOKEN = 16, 60
_LOGINS = frozenset({("login",), ("username",), ("user", "name"), ("email",)})
_TYPED = frozenset({"text", "email", "tel"})
_OTHER_COOKIES = ("csrf", "xsrf", "lang", "theme")


class Carried(NamedTuple):
    """A credential in an authorization header. last_part: it stands behind the last colon of what the header holds."""

    scheme: str
    token: str
    encoded: bool
    last_part: bool


def carried(header: str) -> Iterator[Carried]:
    """Everything in an authorization header that may be a credential."""
    scheme, _, text = header.strip().partition(" ")
    text = text.strip()
    if not text or not scheme.isascii():
        return
    yield Carried(scheme.lower(), text, False, False)
    try:
        inner = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return
    yield Carried(scheme.lower(), inner, True, False)
    if ":" in inner:
        yield Carried(scheme.lower(), inner.rpartition(":")[2], True, True)


def long_texts(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Texts of an answer that may be credentials, with the path to each."""
    if isinstance(value, str) and len(value) >= LEAST_TOKEN and len(path) <= 8:
        yield path, value
    elif isinstance(value, dict):
        for key, inner in list(value.items())[:50]:
            yield from long_texts(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:50]):
            yield from long_texts(inner, (*path, str(number)))


def given(value: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Texts of an answer that look like credentials by their key or their length."""
    for path, text in long_texts(value):
        if " " not in text and (len(text) >= LONG_TOKEN or any(is_secret(step) for step in path)):
            yield path, text


def plain_step(step: str) -> bool:
    """Whether a key may be kept as the name of a place."""
    return step.isidentifier() and step.isascii() and len(step) <= 40


def presented(body: dict[str, Any], known: Callable[[str], bool]) -> Iterator[str]:
    """Members of a body that hold a credential which an earlier answer gave."""
    for name, text in body.items():
        if isinstance(text, str) and len(text) >= LEAST_TOKEN and name.isidentifier() and known(text):
            yield name


def note_of(path: tuple[str, ...], found: Carried) -> str:
    """What is kept of a credential that came back: `token|scheme|encoded|last part|path`."""
    return "|".join(("token", found.scheme, "1" * found.encoded, "1" * found.last_part, "/".join(path)))


def describe(
    evidence: Evidence, operations: list[Operation], sources: Callable[[Operation], list[str]]
) -> dict[str, Any]:
    """`sign_in`, `cookies`, `credentials` of a profile, as far as they were seen. sources: routes of an operation."""
    found: dict[str, Any] = {"sign_in": {}, "cookies": [], "credentials": []}
    for one in operations:
        if one.action == "login" and "POST" in one.methods:
            _from_form(evidence, one, sources(one), found)
            _from_json(evidence, one, sources(one), found)
        if one.action in ("login", "logout"):
            found["credentials"] += _presented(evidence, one, sources(one))
    for call in evidence.calls.values():
        notes = sorted(note for note in call.results if note.startswith("token|"))
        logins = sorted(note.partition("|")[2] for note in call.results if note.startswith("login|"))
        if not call.secret or not notes or not logins:
            continue
        _, scheme, encoded, last, path = notes[-1].split("|", 4)
        found["sign_in"]["auth.login"] = {
            "status": [200],
            "login": {"json": [["params", logins[0]]]},
            "token": {"json": [path.split("/")]},
        }
        credential: dict[str, Any] = {"header": "authorization", "scheme": scheme}
        credential |= {"base64": True} if encoded else {}
        found["credentials"].append(credential | ({"last_part": ":"} if last else {}))
    return found


def _from_json(evidence: Evidence, operation: Operation, sources: list[str], found: dict[str, Any]) -> None:
    """A credential in a JSON answer that later requests carried in their authorization header."""
    routes = [evidence.routes[source] for source in sources if source in evidence.routes]
    notes = sorted({note for route in routes for note in route.answers if note.startswith("token|")})
    if not notes:
        return
    _, scheme, encoded, last, _ = notes[0].split("|", 4)
    paths = sorted({note.split("|", 4)[4] for note in notes})  # a renewal may name it otherwise
    statuses = sorted({int(status) for route in routes for status in route.statuses if status[0] == "2"})
    entry: dict[str, Any] = {"status": statuses, "token": {"json": [path.split("/") for path in paths]}}
    others = sorted({note.partition("|")[2] for route in routes for note in route.answers if note.startswith("gave|")})
    if others := [one for one in others if one not in paths]:
        entry["others"] = {"json": [one.split("/") for one in others]}
    login, user = _told(evidence, sources)
    entry |= {"login": login} if login else {}
    entry |= {"user": {"json": [user]}} if user else {}
    found["sign_in"][operation.id] = entry
    credential: dict[str, Any] = {"header": "authorization", "scheme": scheme}
    credential |= {"base64": True} if encoded else {}
    credential |= {"last_part": ":"} if last else {}
    if credential not in found["credentials"]:
        found["credentials"].append(credential)


def _told(evidence: Evidence, sources: list[str]) -> tuple[dict[str, Any], list[str]]:
    """(as what somebody signed in: where request or answer say it, where the answer has the id beside that)."""
    for where, key in ((JSON_IN, "json"), (JSON_OUT, "answer")):
        places = sorted(
            (name.count("/"), name) for (at, route, name), stat in evidence.places.items()
            if at == where and route in sources and name != "*"
            and (words_of(name.rpartition("/")[2]) in _LOGINS or stat.kinds["email"] == stat.seen > 0)
        )  # fmt: skip
        if places:
            path = places[0][1].split("/")
            beside = "/".join([*path[:-1], "id"])
            known = where == JSON_OUT and any((JSON_OUT, route, beside) in evidence.places for route in sources)
            return {key: [path]}, [*path[:-1], "id"] if known and len(path) > 1 else []
    return {}, []


def _presented(evidence: Evidence, operation: Operation, sources: list[str]) -> list[dict[str, Any]]:
    """Members of a body by which a sign-out or a renewal names the credential that it ends."""
    names = {
        note.partition("|")[2] for source in sources if source in evidence.routes
        for note in evidence.routes[source].answers if note.startswith("presents|")
    }  # fmt: skip
    return [{"body": name, "operations": [operation.id]} for name in sorted(names)]


def _from_form(evidence: Evidence, operation: Operation, sources: list[str], found: dict[str, Any]) -> None:
    controls = {name: one for source in sources for name, one in evidence.forms.get(source, {}).items()}
    typed = [name for name, one in controls.items() if one.type in _TYPED and not is_secret(name)]
    routes = [evidence.routes[source] for source in sources if source in evidence.routes]
    cookies = {name for route in routes for name in route.cookies if not any(w in name.lower() for w in _OTHER_COOKIES)}
    statuses = sorted({int(status) for route in routes for status in route.statuses if status[0] == "3"})
    new = sorted(cookies - set(found["cookies"]))
    found["cookies"] += new
    found["credentials"] += [{"cookie": name} for name in new]
    if typed and cookies and statuses:
        found["sign_in"][operation.id] = {
            "status": statuses, "login": {"form": typed[0]}, "token": {"cookie": sorted(cookies)[0]},
        }  # fmt: skip
