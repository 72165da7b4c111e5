"""The auditor's console: who saw, wrote, exported or had revealed which field of whom, when, in which form.

Asking is on record with what was asked, in the trail that was asked; a record that somebody looked up here is found in
its own timeline.
"""

from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit.answers import NothingToLookUp
from audit.question import FORMS, Question
from gateway.access.user import login_key
from gateway.console import chart, timeline
from gateway.console.inquiry import (
    CUSTOMER,
    PERIODS,
    PROBLEMS,
    VIEWS,
    Inquiry,
    place_text,
    read_inquiry,
    read_place,
)
from gateway.console.pages import ConsolePages
from gateway.console.permissions import AUDIT, EXPORT_AUDIT, LIVE, USERS
from gateway.console.saved_store import SavedStore
from gateway.console.timeline import DEEDS, LOST, Timeline
from gateway.console.words import KINDS, REASONS
from gateway.exchange import Principal

UNKNOWN = "person-unknown"


class TrailPages(ConsolePages):
    """What the pages about a question to the trail share."""

    async def _question(self, principal: Principal, inquiry: Inquiry) -> tuple[Question | None, str]:
        """The question that was typed, or what is wrong with it."""
        if problem := inquiry.problem():
            return None, problem
        actor, names = "", [""]
        if inquiry.person:
            actor = await self._account(principal, inquiry.person)
            if not actor:
                return None, UNKNOWN
        if inquiry.record:
            names = await self._deps.trail.names_of(principal.tenant, inquiry.entity, inquiry.record)
        field = inquiry.field
        if kind := inquiry.kind_of_field:
            specs = self._deps.fields(principal.tenant)
            field = ",".join(one.name for one in specs if one.entity == inquiry.entity and str(one.kind) == kind)
            if not field:
                return None, "what"
        return inquiry.question(self._deps.access.clock(), actor=actor, names=names, field=field), ""

    async def _account(self, principal: Principal, typed: str) -> str:
        """The account with this login, or else what may be its id: of one that is gone, or of the command line."""
        key = login_key(typed)
        for user in await self._deps.access.users.list(principal.tenant):
            if typed == user.id or key == login_key(user.login):
                return user.id
        return typed if typed.isascii() and " " not in typed else ""


def asked(question: Question) -> dict[str, Any]:
    """What the trail keeps of a question: names of its filters, and whom it is about."""
    told: dict[str, Any] = {"filters": list(question.names)}
    if question.record:
        told["records"] = [f"{question.entity}.{question.record}"]
    if question.field:
        told["detail"] = [f"{question.entity}.{field}" for field in question.fields]
    if question.actor:
        told["target"] = question.actor
    return told


class TimelinePages(TrailPages):
    """One page with four ways to ask."""

    async def timeline(self, request: Request) -> Response:
        """The form, and the answers to what was asked."""
        inquiry = read_inquiry(request.query_params)
        # A link of an example fills the form in and asks nothing yet.
        begun = inquiry.empty or "start" in request.query_params
        principal = await self._person(request, AUDIT, noted=not begun)
        question, problem = (None, "") if begun else await self._question(principal, inquiry)
        found = None
        if question is not None:
            await self._note(request, principal, AUDIT, "trail-asked", 200, **asked(question))
            place = read_place(request.query_params.get("before", ""))
            try:
                found = await timeline.read(
                    self._deps.pool, principal.tenant, question, self._deps.trail, before=place, counted=place is None
                )
            except NothingToLookUp:
                problem = "what"
        values = {
            "page": "trail",
            "inquiry": inquiry,
            "problem": PROBLEMS.get(problem, ""),
            "problem_at": _field_of(problem, inquiry),
            "found": found,
            "question": question,
            "may_export": self._may(principal, EXPORT_AUDIT),
            "may_see_trail": self._may(principal, LIVE),
            "saved": await SavedStore(self._deps.pool).seen_by(principal.tenant, principal.id),
            **self._choices(principal),
            **_drawn(found),
        }
        values["people"] = await self._people(principal)
        return self._page(request, principal, "timeline.html", values, status=422 if problem else 200)

    async def _people(self, principal: Principal) -> list[str]:
        if not self._may(principal, USERS):
            return []
        return [user.login for user in await self._deps.access.users.list(principal.tenant)]

    def _choices(self, principal: Principal) -> dict[str, Any]:
        entities: dict[str, list[tuple[str, str]]] = {}
        for spec in self._deps.fields(principal.tenant):
            kind = str(spec.kind) if spec.kind is not None else ""
            entities.setdefault(spec.entity, []).append((spec.name, kind))
        first: dict[str, tuple[str, str]] = {}
        for entity, fields in entities.items():
            for name, kind in fields:
                first.setdefault(kind, (entity, name))
        people = {name: fields for name, fields in entities.items() if any(kind for _, kind in fields)}
        return {
            "views": VIEWS,
            "periods": PERIODS,
            "entities": people,
            "first_of": first,
            "forms": FORMS,
            "kinds": KINDS,
            "reasons": list(REASONS),
            "deeds": DEEDS,
            "lost": LOST,
        }


def _field_of(problem: str, inquiry: Inquiry) -> str:
    """The input that a problem is about."""
    if problem == UNKNOWN:
        return "person"
    if problem == "order":
        return "until"
    return "what" if problem == "field" or (problem == "what" and inquiry.by == CUSTOMER) else problem


def _drawn(found: Timeline | None) -> dict[str, Any]:
    if found is None or found.tally is None:
        return {"days": None, "actors": ((), 0), "forms_counted": ((), 0), "older": _older(found)}
    tally, by_login = found.tally, Counter[str]()
    for actor, amount in tally.actors.items():
        by_login[found.logins.get(actor) or actor] += amount  # an account may follow another of the same login
    return {
        "days": chart.draw_days(tally.days),
        "actors": chart.amounts_of(by_login),
        "forms_counted": chart.amounts_of(tally.forms),
        "older": _older(found),
    }


def _older(found: Timeline | None) -> str:
    return "" if found is None or found.found.older is None else place_text(found.found.older)


def back_to(inquiry: Inquiry) -> Response:
    """Go back to the answers."""
    return RedirectResponse("/trail" + inquiry.query(), 303)
