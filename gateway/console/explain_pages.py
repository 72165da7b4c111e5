"""Why somebody may see or do something: the answer for each right, and the rows and inheritances behind it."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from gateway.bundles.desk import PolicyDesk
from gateway.bundles.explaining import Explained, NothingToExplain, Question, explain
from gateway.console.pages import ConsolePages
from gateway.console.permissions import POLICY
from gateway.console.policy_pages import read_number
from gateway.console.policy_words import ACTIONS, PROBLEMS, RIGHTS
from policies.operation import CONSOLE_OPERATIONS
from policies.reasons import Ruling
from policies.rows import PolicyInvalid

TEXT_LIMIT_CHARS = 400


class ExplainPages(ConsolePages):
    """One page with a form that asks by its address, so that an answer can be passed on."""

    async def explain(self, request: Request) -> Response:
        """The form, and the answer to what was asked."""
        principal = await self._person(request, POLICY)
        desk = self._deps.desk(principal.tenant)
        asked = {name: request.query_params.get(name, "").strip()[:TEXT_LIMIT_CHARS] for name in ("who", "what")}
        action = request.query_params.get("action", "")
        action = action if action in ACTIONS else "read"
        number = read_number(request.query_params.get("bundle", ""))
        found, problem = None, ""
        known: tuple[str, ...] = ()
        invalid: tuple[str, ...] = ()
        if asked["who"] and asked["what"]:
            try:
                found = await explain(desk, self._deps.pool, asked["who"], asked["what"], action, number)
            except NothingToExplain as nothing:
                problem, known = f"explain-{nothing.what}", nothing.known
            except PolicyInvalid as fault:
                problem, invalid = "policy-invalid", fault.problems
        values: dict[str, Any] = {
            "page": "policy",
            "asked": asked | {"action": action, "bundle": number},
            "groups": [] if found is None else _groups(found),
            "roles": () if found is None else found.roles,
            "problem": problem,
            "problems": PROBLEMS,
            "known": known,
            "invalid": invalid,
            "rights": RIGHTS,
            "actions": ACTIONS,
            "choices": _choices(desk),
            "bundles": await desk.store.every(principal.tenant),
        }
        return self._page(request, principal, "explain.html", values, status=422 if problem else 200)


def _groups(found: Explained) -> list[tuple[str, Sequence[tuple[Question, Ruling]]]]:
    """Answers by the object they are about, in the order they were asked in."""
    return [(obj, tuple(same)) for obj, same in groupby(found.answers, key=lambda one: one[0].obj)]


def _choices(desk: PolicyDesk) -> list[str]:
    """What the form suggests: every field and operation there is."""
    profile = desk.profile
    fields = [f"field:{entity}.{name}" for entity, name in sorted(profile.field_specs)]
    operations = [f"op:{name}" for name in sorted({*profile.operation_ids, *CONSOLE_OPERATIONS})]
    return [*fields, *operations]
