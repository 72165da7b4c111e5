"""Numbers of paths that are no records: an installation's own part of every address (`/en/123/…`) is always the same.

Kept is such a number alone, once it stood at one place of most addresses and nothing else ever stood there.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable

from gateway.learn.evidence import Evidence, Place
from gateway.learn.route import NUMBER

LEAST, SHARE, DEEPEST = 20, 0.5, 3
MANY = ""
"""What stands in the place of the number where there were several."""


class Numbers:
    """Numbers near the beginning of paths, as one watcher sees them."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int]] = {}
        self._paths = 0

    def note(self, template: str, path: str) -> None:
        """Count one path. template: the same with its numbers as parameters."""
        self._paths += 1
        steps, texts = template.strip("/").split("/"), path.strip("/").split("/")
        for depth, (step, text) in enumerate(zip(steps[:DEEPEST], texts, strict=False)):
            if step == NUMBER:
                place = "/" + "/".join(steps[: depth + 1])
                known, count = self._seen.get(place, (text, 0))
                if len(self._seen) < LEAST * 10 or place in self._seen:
                    self._seen[place] = (text if text == known else MANY, count + 1)

    def constant(self) -> dict[str, str]:
        """Template up to a number → that number, where it stood in most paths and always the same."""
        return {
            place: text
            for place, (text, count) in self._seen.items()
            if text != MANY and count >= LEAST and count >= SHARE * self._paths
        }


def written_out(evidence: Evidence) -> Evidence:
    """The same evidence with the constant numbers in the place of their parameters."""
    constant = {place: text for place, text in evidence.constant.items() if text != MANY}
    if not constant:
        return evidence

    def plain(template: str) -> str:
        for place, text in constant.items():
            if template == place or template.startswith(f"{place}/"):
                return place.removesuffix(NUMBER) + text + template[len(place) :]
        return template

    return _rewritten(evidence, plain)


def _rewritten(evidence: Evidence, plain: Callable[[str], str]) -> Evidence:
    def key_of(key: str) -> str:
        method, blank, template = key.partition(" ")
        return f"{method} {plain(template)}" if blank else plain(key)

    def place_of(place: Place) -> Place:
        return place[0], key_of(place[1]), place[2]

    routes = {key_of(key): route for key, route in evidence.routes.items()}
    for key, route in routes.items():
        routes[key] = dataclasses.replace(route, leads=Counter({plain(to): n for to, n in route.leads.items()}))
    return dataclasses.replace(
        evidence,
        routes=routes,
        places={place_of(place): stat for place, stat in evidence.places.items()},
        forms={key_of(key): controls for key, controls in evidence.forms.items()},
        copies=Counter({(place_of(one), place_of(other)): n for (one, other), n in evidence.copies.items()}),
        owners=Counter({(w, key_of(r), n, whose): count for (w, r, n, whose), count in evidence.owners.items()}),
    )
