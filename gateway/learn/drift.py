"""Fields of an answer that hold recognised values and that no rule of the profile declares: drift, by place and kind.

Pure. A place is a template, a selector, a key or a column; no value is in it.
"""

from collections import Counter

import orjson

from gateway.body import media
from gateway.body.media import Media
from gateway.learn import pages, trees
from gateway.learn.naming import singular
from gateway.learn.route import WORD, template_of
from gateway.learn.vocabulary import vocabulary
from gateway.learn.watcher import Seen
from policies.field_file import selector_of
from policies.profile import Profile, label_key
from policies.selector import rule_for
from privacy import recognise

FIELD = "field"
MOST = 200  # of one answer


def endpoint_of(path: str) -> str:
    """The template of a path that nothing describes. Anybody may have written it, and it may name somebody: behind its
    first step only words that say what is done or what a record is are kept."""
    steps = template_of(path).split("/")
    return "/".join(step if at < 2 or step[:1] == "{" or _is_known(step) else WORD for at, step in enumerate(steps))[
        :300
    ]


def _is_known(step: str) -> bool:
    known = vocabulary()
    return known.is_verb(step) or singular(step) in known.filler or step.lower() in known.records


class Undeclared:
    """What one answer shows beside the profile. entity: of the operation that was answered."""

    def __init__(self, profile: Profile, entity: str) -> None:
        self._profile = profile
        self._entity = entity
        self._found: Counter[tuple[str, str, str]] = Counter()
        rules = profile.source.get("rule_sets", {}).values()
        self._written = {selector_of(rule["select"])[-1] for each in rules for rule in each}

    def fields(self, seen: Seen) -> Counter[tuple[str, str, str]]:
        """(sort, place, kind) → times."""
        named = dict(seen.fields)
        kind = media.sniff(named.get("content-type", ""), named.get("content-disposition", ""), seen.answer)
        route = f"{seen.method} {template_of(seen.target)}"
        if kind is Media.HTML:
            self._page(route, seen)
        elif kind is Media.JSON:
            try:
                tree = orjson.loads(seen.answer)
            except orjson.JSONDecodeError:
                return self._found
            for leaf in trees.leaves_of(tree):
                self._key(route, leaf)
        return self._found

    def _page(self, route: str, seen: Seen) -> None:
        tree = pages.parse(seen.answer)
        for form in pages.forms_of(tree, seen.target):
            method, _, template = form.key.partition(" ")
            path = template.replace("{n}", "1")
            rules = self._profile.classify(method, path, "", b"", "application/x-www-form-urlencoded").rules
            for name, value in form.values.items():
                if rule_for(rules, (name,)) is None:
                    self._note(f"{form.key} form field {trees.safe_key(name)}", value)
        shown = [
            *(cell.css for cell in self._profile.places.cells),
            *(r.css for r in self._profile.shown_rules if r.css),
        ]
        for one in pages.shown_in(tree, pages.nodes_in(tree, shown)):
            self._note(f"{route} {one.selector}", one.text)

    def _key(self, route: str, leaf: trees.Leaf) -> None:
        steps = [step for step in leaf.path if step != "*"]
        key, outer = (steps[-1] if steps else ""), "/".join(steps[-2:])
        keys = self._profile.places.keys
        if any((entity, name) in keys for entity in (self._entity, "") for name in (key, outer)):
            return
        if key not in self._written and self._profile.field_for_label(label_key(key)) is None:
            self._note(f"{route} JSON {'/'.join(steps)}", leaf.text)

    def _note(self, place: str, text: str) -> None:
        found = recognise.whole(text)
        if found is not None and len(self._found) < MOST:
            self._found[(FIELD, place[:300], str(found.kind))] += 1
