"""How the gateway signs in to a CRM for a person, and what a request of that session bears: `carried` of a profile.

Plain values and pure functions. A template names what is filled in: `{login}` and `{secret}` of the person, `{db}` of
the settings, and what the answer to the sign-in told. Without a sign-in the secret is a token of the CRM itself.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from policies.answers import json_value

_NAME = re.compile(r"\{([a-z_]+)\}")
_LINE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
GIVEN = frozenset({"login", "secret", "db"})
Pointers = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One request of the gateway's own. form or json: its body with templates; both empty: none."""

    method: str
    path: str
    form: Mapping[str, str] = field(default_factory=dict)
    json: Any = None

    def target(self, given: Mapping[str, str]) -> str:
        """The path with what is given in it, percent-encoded."""
        return fill(self.path, {name: quote(value, safe="") for name, value in given.items()})

    def filled(self, given: Mapping[str, str]) -> list[tuple[str, str]]:
        """The fields of the form."""
        return [(name, fill(template, given)) for name, template in self.form.items()]

    def document(self, given: Mapping[str, str]) -> bytes:
        """The JSON body; every string is a template."""
        return orjson.dumps(_filled(self.json, given))


@dataclass(frozen=True, slots=True)
class Carried:
    """What a profile says of sessions that the gateway carries for people.

    sign_in: None where the secret itself is presented. page: read before it; hidden fields of the form that has the
    same fields come along. accepted, refused: status of the answer to a right and to a wrong secret; refused_field: a
    form field that the page after a wrong secret shows again. tells: name → where the answer says it; tells_cookies:
    name → the cookie it sets. user: the name among them that is the CRM's own key of the person. cookies: those of the
    session. header, value, packed: the field a request bears; `{packed}` in value is base64 of packed. sign_out: ends
    the session.
    """

    sign_in: Step | None = None
    page: str = ""
    accepted: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    refused_field: str = ""
    tells: Mapping[str, Pointers] = field(default_factory=dict)
    tells_cookies: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    cookies: tuple[str, ...] = ()
    header: str = ""
    value: str = ""
    packed: str = ""
    sign_out: Step | None = None

    @property
    def asks_for_database(self) -> bool:
        """Whether the settings have to name the CRM's database."""
        return any(step is not None and "{db}" in step.path for step in (self.sign_in, self.sign_out))

    def told(self, status: int, body: bytes, cookies: Mapping[str, str]) -> dict[str, str] | None:
        """What the answer to a sign-in tells; None when something is missing. cookies: all that were set."""
        if any(name not in cookies for name in (*self.cookies, *self.tells_cookies.values())):
            return None
        found = {name: cookies[cookie] for name, cookie in self.tells_cookies.items()}
        for name, pointers in self.tells.items():
            value = next(
                (one for one in (json_value(status, body, path) for path in pointers) if one is not None), None
            )
            if value is None:
                return None
            found[name] = value
        return found

    def line(self, given: Mapping[str, str]) -> str:
        """The header line that a request bears, "" for none; raises ValueError for what would break it."""
        if not self.header:
            return ""
        packed = base64.b64encode(fill(self.packed, given).encode()).decode("ascii")
        value = fill(self.value, {**given, "packed": packed})
        if _LINE.fullmatch(value) is None:
            raise ValueError("a credential that no header can hold")
        return f"{self.header}: {value}\r\n"


def fill(template: str, given: Mapping[str, str]) -> str:
    """A template with its names replaced, once; raises KeyError for one that is not given."""
    return _NAME.sub(lambda found: given[found[1]], template)


def compile_carried(source: Mapping[str, Any], session_cookies: frozenset[str]) -> tuple[Carried, list[str]]:
    """The part of a validated profile source, and what is wrong with it in plain words."""
    entry = source.get("sign_in")
    header = source.get("header", {})
    step = None
    if entry is not None:
        step = Step("POST", entry["path"], entry.get("form", {}), entry.get("json"))
    out = source.get("sign_out")
    refused = {} if entry is None else entry["refused"]
    made = Carried(
        sign_in=step,
        page="" if entry is None else entry.get("page", ""),
        accepted=frozenset() if entry is None else frozenset(entry["accepted"]),
        refused=frozenset(refused.get("status", ())),
        refused_field=refused.get("field", ""),
        tells={} if entry is None else {name: _pointers(one) for name, one in entry.get("tells", {}).items()},
        tells_cookies={} if entry is None else entry.get("tells_cookies", {}),
        user=source.get("user", ""),
        cookies=tuple(source.get("cookies", ())),
        header=header.get("name", ""),
        value=header.get("value", ""),
        packed=header.get("packed", ""),
        sign_out=None if out is None else Step(out["method"], out["path"], out.get("form", {}), out.get("json")),
    )
    return made, _problems(made, session_cookies)


def _problems(made: Carried, session_cookies: frozenset[str]) -> list[str]:
    problems = []
    if not made.cookies and not made.header:
        problems.append("carried: say what a request bears: cookies or header")
    if made.cookies and made.sign_in is None:
        problems.append("carried: cookies come from a sign-in; without one only a header can be borne")
    if foreign := sorted(set(made.cookies) - session_cookies):
        problems.append(
            f"carried: {', '.join(foreign)}: name these under cookies.session, so that no browser gets them"
        )
    if made.sign_in is not None and bool(made.sign_in.form) == (made.sign_in.json is not None):
        problems.append("carried: a sign-in sends either form or json")
    if made.accepted & made.refused:
        problems.append("carried: one status cannot say both that a secret is right and that it is wrong")
    if made.user and made.user not in made.tells:
        problems.append(f"carried: user names {made.user}, which tells does not have")
    # The secret is forgotten once it has opened a session.
    kept = GIVEN if made.sign_in is None else GIVEN - {"secret"}
    known = kept | set(made.tells) | set(made.tells_cookies)
    for place, text, more in (
        ("header.value", made.value, {"packed"}),
        ("header.packed", made.packed, set()),
        *((f"sign_in.{name}", text, set()) for name, text in _texts(made.sign_in)),
        *((f"sign_out.{name}", text, set()) for name, text in _texts(made.sign_out)),
    ):
        told = GIVEN if place.startswith("sign_in") else known | more
        for name in _NAME.findall(text):
            if name not in told:
                problems.append(f"carried: {place} asks for {{{name}}}, which nobody gives")
    return problems


def _texts(step: Step | None) -> list[tuple[str, str]]:
    if step is None:
        return []
    return [("path", step.path), *step.form.items(), *(("json", text) for text in _strings(step.json))]


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _strings(one)]


def _filled(value: Any, given: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fill(value, given)
    if isinstance(value, dict):
        return {name: _filled(one, given) for name, one in value.items()}
    return [_filled(one, given) for one in value] if isinstance(value, list) else value


def _pointers(paths: Sequence[Sequence[str]]) -> Pointers:
    return tuple(tuple(path) for path in paths)
