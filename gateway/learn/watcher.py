"""Looks at exchanges of one learning run and counts what it sees into `Evidence`; keeps no value.

Equal values are found by digests under a key that is made with the watcher and dies with it. It looks at what passes
between gateway and CRM, so values that recognisers protect already are surrogates here and count as what they stand
for.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from urllib.parse import parse_qsl, urlsplit

import orjson

from gateway.body import media
from gateway.body.csv import open_csv
from gateway.body.fault import BodyFault
from gateway.body.limits import Limits
from gateway.body.media import Media
from gateway.body.xlsx import open_xlsx
from gateway.learn import pages, sign_in, trees
from gateway.learn.constant import Numbers
from gateway.learn.document import describes
from gateway.learn.evidence import (
    CELL,
    COLUMN,
    DOMAIN,
    FORM,
    JSON_IN,
    JSON_OUT,
    LINK,
    QUERY,
    RPC_IN,
    RPC_OUT,
    SELECTED,
    SHOWN,
    SLASH,
    Call,
    Evidence,
    Place,
)  # fmt: skip
from gateway.learn.owners import OTHER, OWN, owner_leaves
from gateway.learn.route import WORD, names_record, template_of
from gateway.learn.value import LONG_TEXT, WORDS, shape_of
from gateway.learn.vocabulary import PERSONAL, vocabulary

MOST_BODY, MOST_DIGESTS, MOST_IDS, MOST_SHARED, MOST_TOKENS = 4 * 1024 * 1024, 120_000, 50_000, 8, 500
MOST_OWNERS, MOST_ROWS = 2000, 200
_LIMITS = Limits()
_NAMED = re.compile(r"=([\w-]+)\]")  # what a selector says of an element's name


@dataclass(frozen=True, slots=True)
class Seen:
    """One exchange as the CRM saw it. target: origin-form; body, answer: decoded, b"" where nobody read them;
    authorization: the header, looked at only for where its credential came from; actor: the CRM's own key of who was at
    work, "" where nobody knows it."""

    method: str
    target: str
    content_type: str
    body: bytes
    status: int
    fields: tuple[tuple[str, str], ...]
    answer: bytes
    authorization: str = ""
    actor: str = ""


class Watcher:
    """One run in one process. key: 32 random bytes; protected: the kind that a surrogate stands for, or None."""

    def __init__(self, key: bytes, protected: Callable[[str], str | None]) -> None:
        self.evidence = Evidence()
        self._key = key
        self._protected = protected
        self._values: dict[bytes, list[Place]] = {}
        self._personal: set[bytes] = set()
        self._ids: set[bytes] = set()
        self._numbers = Numbers()
        self._tokens: dict[bytes, tuple[Counter[str], tuple[str, ...]]] = {}

    def note(self, seen: Seen) -> None:
        """Count one exchange; whatever a body holds, nothing is raised but faults of our own."""
        self.evidence.exchanges += 1
        parts = urlsplit(seen.target)
        path = parts.path or "/"
        template = self._template(path)
        self._numbers.note(template, path)
        key = f"{seen.method} {template}"
        route = self.evidence.route(key)
        if route is None:
            self.evidence.dropped += 1
            return
        route.count += 1
        route.statuses[str(seen.status)] += 1
        if len(path) > 1 and path[-1] == "/":
            route.answers[SLASH] += 1
        if self._tokens and seen.authorization:
            self._carried(seen.authorization)
        number = _last_number(path)
        if number and self._digest(number) in self._ids:
            route.known_ids += 1
        for name, value in parse_qsl(parts.query, keep_blank_values=True, max_num_fields=400):
            self._query(key, name, value)
        self._request(key, seen)
        self._answer(key, path, seen)

    # -- the request ------------------------------------------------------------------------------------------

    def _query(self, key: str, name: str, value: str) -> None:
        name = trees.safe_key(name) if len(name) <= 120 else "*"
        if trees.is_secret(name):
            return
        if value[:1] in "{[" and (tree := _json(value.encode())) is not None:
            for leaf in trees.leaves_of(tree):
                self._value(QUERY, key, "/".join((name, *leaf.path)), leaf.text)
            return
        self._value(QUERY, key, name, value)

    def _request(self, key: str, seen: Seen) -> None:
        kind = media.essence(seen.content_type)
        route = self.evidence.routes[key]
        if not seen.body:
            if kind:
                route.bodies[kind] += 1
            return
        route.bodies[kind] += 1
        if kind == "application/x-www-form-urlencoded":
            fields = parse_qsl(seen.body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=2000)
            for name, value in fields:
                if not trees.is_secret(name):
                    self._value(FORM, key, trees.safe_key(name), value)
                    if seen.actor and vocabulary().is_owner(name):
                        self._owner(FORM, key, name, value == seen.actor)
                elif trees.is_password(name):
                    route.answers["secret"] += 1
        elif (tree := _json(seen.body)) is not None:
            call = trees.rpc_call(tree)
            if call is not None:
                route.answers["rpc"] += 1
                self._call(call, seen)
                return
            for leaf in trees.leaves_of(tree):
                self._value(JSON_IN, key, "/".join(leaf.path), leaf.text)
            if isinstance(tree, dict):
                if any(map(trees.is_password, tree)):
                    route.answers["secret"] += 1
                for name in sign_in.presented(tree, lambda text: self._digest(text) in self._tokens):
                    route.answers[f"presents|{name}"] += 1
                self._owners(JSON_IN, key, tree, seen.actor)

    def _call(self, call: trees.RpcCall, seen: Seen) -> None:
        calls = self.evidence.calls
        if call.method not in calls and len(calls) >= 4000:
            return
        noted = calls.setdefault(call.method, Call())
        noted.count += 1
        noted.secret += call.secret
        noted.ids.update(map(str, call.ids))
        if call.secret:
            if call.first_text >= 0:
                noted.results[f"login|{call.first_text}"] += 1
            for path, text in sign_in.long_texts(_json(seen.answer)):
                if len(self._tokens) < MOST_TOKENS:
                    self._tokens[self._digest(text)] = (noted.results, path)
            return
        for name, text in call.keyed:
            self._value(RPC_IN, call.method, name, text)
        for column, operator, operand in call.clauses:
            noted.operators[operator] += 1
            self._value(DOMAIN, call.method, trees.safe_key(column), operand.strip("%"))
        answer = _json(seen.answer)
        failed, result, shape = trees.result_of(answer)
        noted.failed += failed
        noted.results[shape] += 1
        for row in result[:MOST_ROWS] if isinstance(result, list) else ():
            self._owners(RPC_OUT, call.method, row, seen.actor)
        for leaf in trees.leaves_of(result):
            self._value(RPC_OUT, call.method, "/".join(step for step in leaf.path if step != "*") or "*", leaf.text)

    def _carried(self, header: str) -> None:
        """Where the credential of a request came from, if a sign-in gave it."""
        for found in sign_in.carried(header):
            source = self._tokens.get(self._digest(found.token))
            if source is not None:
                source[0][sign_in.note_of(source[1], found)] = 1

    # -- the answer -------------------------------------------------------------------------------------------

    def _answer(self, key: str, path: str, seen: Seen) -> None:
        route = self.evidence.routes[key]
        named = dict(seen.fields)
        for name, value in seen.fields:
            if name == "set-cookie":
                cookie = value.partition("=")[0].strip()
                if cookie.isascii() and len(cookie) <= 60:
                    route.cookies[cookie] += 1
        if 300 <= seen.status < 400 and "location" in named:
            to = urlsplit(named["location"]).path or "/"
            route.leads[self._template(to)] += 1
            if number := _last_number(to):
                self._ids.add(self._digest(number))
        if "attachment" in named.get("content-disposition", ""):
            route.files += 1
        if not seen.answer or len(seen.answer) > MOST_BODY:
            return
        kind = media.sniff(named.get("content-type", ""), named.get("content-disposition", ""), seen.answer)
        route.media[str(kind)] += 1
        match kind:
            case Media.HTML:
                self._page(key, path, seen)
            case Media.JSON if "rpc" not in route.answers and (tree := _json(seen.answer)) is not None:
                self._document(key, tree, seen)
            case Media.CSV:
                self._columns(key, lambda: [(one.path, one.text) for one in open_csv(seen.answer, "", _LIMITS).leaves])
            case Media.XLSX:
                self._columns(key, lambda: [(one.path, one.text) for one in open_xlsx(seen.answer, _LIMITS).leaves])
            case _:
                pass

    def _page(self, key: str, path: str, seen: Seen) -> None:
        tree = pages.parse(seen.answer)
        for form in pages.forms_of(tree, path):
            method, _, template = form.key.partition(" ")
            where = f"{method} {self._safe(template)}"
            known = self.evidence.forms.setdefault(where, {}) if len(self.evidence.forms) < 1500 else {}
            for name, control in form.controls.items():
                name = trees.safe_key(name)
                if name not in known and len(known) < 300:
                    known[name] = control
            for name, value in form.values.items():
                if not trees.is_secret(name):
                    self._value(SHOWN, where, trees.safe_key(name), value)
            for name, value in form.chosen.items() if seen.actor else ():
                if vocabulary().is_owner(name):
                    self._owner(SELECTED, where, name, value == seen.actor)
        for one in pages.shown_in(tree):
            self._value(CELL, key, one.selector, one.text)
        for link in pages.links_of(tree, path):
            if (number := _last_number(link.path)) and len(self._ids) < MOST_IDS:
                self._ids.add(self._digest(number))
            if names_record(link.template):
                self._value(LINK, self._safe(link.template), "", link.text)

    def _document(self, key: str, tree: object, seen: Seen) -> None:
        if seen.method == "POST" and seen.status < 300:
            for path, text in sign_in.given(tree):
                if len(self._tokens) < MOST_TOKENS:
                    self._tokens[self._digest(text)] = (self.evidence.routes[key].answers, path)
                if all(map(sign_in.plain_step, path)):
                    self.evidence.routes[key].answers["gave|" + "/".join(path)] = 1
        if describes(tree):
            return  # what a CRM says about itself has thousands of places, none of them with a value
        self._owners(JSON_OUT, key, tree, seen.actor)
        for leaf in trees.leaves_of(tree):
            self._value(JSON_OUT, key, "/".join(step for step in leaf.path if step != "*") or "*", leaf.text)
        if isinstance(tree, dict):
            answers = self.evidence.routes[key].answers
            answers.update(name for name in ("id", "uuid", "pk") if isinstance(tree.get(name), str | int))
            if seen.method == "POST":
                answers.update(
                    f"id|{name}" for name, one in tree.items()
                    if isinstance(one, dict) and isinstance(one.get("id"), str | int) and sign_in.plain_step(name)
                )  # fmt: skip
            if isinstance(number := tree.get("id"), int):
                self._ids.add(self._digest(str(number)))

    def _columns(self, key: str, read: Callable[[], Iterable[tuple[tuple[str, ...], str]]]) -> None:
        try:
            cells = list(read())[:20_000]
        except BodyFault:
            return
        for path, text in cells:
            label = path[0] if path else ""
            if 1 < len(label) <= 60 and label != text and shape_of(label) != LONG_TEXT:
                self._value(COLUMN, key, label, text)

    def _owners(self, where: str, key: str, tree: object, actor: str) -> None:
        if actor:
            for path, told in owner_leaves(tree):
                self._owner(where, key, "/".join(path), told == actor)

    def _owner(self, where: str, route: str, name: str, own: bool) -> None:
        if len(self.evidence.owners) < MOST_OWNERS:
            self.evidence.owners[(where, route, name, OWN if own else OTHER)] += 1

    # -- values -----------------------------------------------------------------------------------------------

    def _value(self, where: str, route: str, name: str, text: str) -> None:
        meaning = vocabulary().meaning(name.rpartition("/")[2]) if where != CELL else vocabulary().meaning(name)
        named = meaning.kind if meaning is not None else ""
        if named in ("secret", "token"):
            return
        stat = self.evidence.place(where, route, name)
        if stat is None:
            self.evidence.dropped += 1
            return
        text = text.strip()
        kind = self._protected(text) if text else None
        stat.note(text, kind, named)
        if len(text) < 2 or len(text) > 300 or not (kind or stat.kinds or shape_of(text) in (WORDS, LONG_TEXT)):
            return
        digest = self._digest(text)
        if named in PERSONAL and where not in (CELL, LINK):
            self._personal.add(digest)
        places = self._values.get(digest)
        if places is None:
            if len(self._values) >= MOST_DIGESTS:
                return
            places = self._values[digest] = []
        if (where, route, name) not in places and len(places) < MOST_SHARED * 4:
            stat.distinct += 1
            places.append((where, route, name))

    def _digest(self, text: str) -> bytes:
        return hashlib.blake2b(text.casefold().encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest()

    def _template(self, path: str) -> str:
        return self._safe(template_of(path))

    def _safe(self, template: str) -> str:
        """A template without words that are somebody's value."""
        steps = template.split("/")
        return "/".join(
            WORD if step and step[0] != "{" and self._digest(step) in self._personal else step for step in steps
        )

    # -- what is kept -----------------------------------------------------------------------------------------

    def snapshot(self) -> Evidence:
        """The counts so far, with the copies found; words of paths that turned out to be values are gone."""
        evidence = self.evidence
        for key in [one for one in evidence.routes if self._cleaned(one) != one]:
            cleaned = evidence.route(self._cleaned(key))
            if cleaned is not None:
                cleaned.add(evidence.routes[key])
            del evidence.routes[key]
        evidence.forms = {
            self._cleaned(key): {name: one for name, one in controls.items() if not self._is_personal(name)}
            for key, controls in evidence.forms.items()
        }
        for place in [one for one in evidence.places if self._placed(one) != one]:
            stat = evidence.place(*self._placed(place))
            if stat is not None:
                stat.add(evidence.places[place])
            del evidence.places[place]
        for controls in evidence.forms.values():
            for control in controls.values():
                if self._is_personal(control.label):
                    control.label = ""
        copies: Counter[tuple[Place, Place]] = Counter()
        for places in self._values.values():
            if len(places) > 1:
                cleaned_places = sorted({self._placed(place) for place in places})[: MOST_SHARED * 2]
                copies.update(combinations(cleaned_places, 2))
        evidence.copies = copies
        evidence.constant = self._numbers.constant()
        return evidence

    def _placed(self, place: Place) -> Place:
        """A place without what turned out to be somebody's value: a word of a path, a key, a column, an element."""
        where, route, name = place
        if where == CELL:
            named = any(self._is_personal(one) for one in _NAMED.findall(name))
            return where, self._cleaned(route), "*" if named else name
        steps = ["*" if self._is_personal(step) else step for step in name.split("/")]
        return where, self._cleaned(route), "/".join(steps)

    def _is_personal(self, text: str) -> bool:
        return bool(text) and self._digest(text) in self._personal

    def _cleaned(self, key: str) -> str:
        method, blank, template = key.partition(" ")
        if key.startswith("/"):
            return self._safe(key)
        return f"{method}{blank}{self._safe(template)}" if blank else key


def _json(body: bytes) -> object | None:
    if not body or len(body) > MOST_BODY or body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value


def _last_number(path: str) -> str:
    numbers = [step for step in path.split("/") if step.isascii() and step.isdecimal()]
    return numbers[-1] if numbers else ""
