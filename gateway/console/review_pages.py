"""Reviews in the console: who has what since when, what nobody used, and rounds in which it is confirmed or removed.

Looking reads up to 90 days of the trail, in the background. Deciding needs a fresh proof of a factor; the desk judges
again that nobody decides about themselves.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.pages import message_page
from gateway.bundles.desk import BundleRefused
from gateway.console.background import Runs, Tell
from gateway.console.deps import ConsoleDeps
from gateway.console.pages import ConsolePages
from gateway.console.permissions import CHANGE_POLICY, CHANGE_USER, USERS, ConsoleRefused
from gateway.console.policy_pages import present_of, read_number
from gateway.console.review_words import DECISIONS, PROBLEMS
from gateway.exchange import Principal
from gateway.key_step import NotAllowed
from gateway.reviews.desk import DAYS, ReviewDesk, ReviewRefused, sums
from gateway.reviews.listing import csv_of, spread
from gateway.reviews.round import Decided, Found, Item, Round, Sort
from gateway.reviews.store import ReviewStore

ENTRIES_LIMIT = 500_000
WAIT_S = 2.0
SHOWN = 300
"""Items of a page; undecided ones stand first, so that the next move up when these are saved."""
FIELDS_LIMIT = SHOWN + 10


class ReviewPages(ConsolePages):
    """What is there, and rounds over it."""

    def __init__(self, deps: ConsoleDeps) -> None:
        super().__init__(deps)
        self._runs: Runs[Found] = Runs()

    async def reviews(self, request: Request) -> Response:
        """Who has what, and every round."""
        return await self._look(request, active=True)

    async def now(self, request: Request) -> Response:
        """What was found alone, for the page itself."""
        return await self._look(request, active=False)

    async def found_csv(self, request: Request) -> Response:
        """What was found as CSV."""
        principal = await self._person(request, USERS, noted=True)
        await self._note(request, principal, USERS, "reviews-exported", 200)
        found = await self._find(principal, wait_s=None)
        assert found is not None
        return _csv(csv_of(found.findings), "access.csv")

    async def start(self, request: Request) -> Response:
        """Open a round about what is found now."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        found = await self._find(principal, wait_s=None)
        assert found is not None
        try:
            number = await self._desk(principal).start(present_of(request, principal), found)
        except ReviewRefused:
            rounds = await self._desk(principal).store.rounds(principal.tenant)
            number = rounds[0].number if rounds else 0
            return RedirectResponse(f"/reviews/{number}?notice=open", 303)
        except NotAllowed:
            raise ConsoleRefused(principal, CHANGE_USER) from None
        self._runs.forget(principal.tenant)
        return RedirectResponse(f"/reviews/{number}?notice=started", 303)

    async def round(self, request: Request) -> Response:
        """One round with its items."""
        principal = await self._person(request, USERS)
        found = await self._round(request, principal)
        if found is None:
            return message_page(self._deps.access, request, "not-found", 404)
        if found.closed is None and self._may(principal, CHANGE_USER):
            await self._person(request, CHANGE_USER, proof=True)  # before, not after, decisions are typed
        return await self._one(request, principal, found)

    async def decide(self, request: Request) -> Response:
        """Note decisions."""
        form = {}
        principal = await self._person(request, CHANGE_USER, proof=True)
        given = await request.form(max_fields=FIELDS_LIMIT, max_files=0)
        for name, value in given.items():
            number = read_number(name.removeprefix("item-")) if name.startswith("item-") else 0
            if number and value in set(Decided):
                form[number] = Decided(value)
        return await self._act(request, principal, "decide", form)

    async def step(self, request: Request) -> Response:
        """Have removals done, or close the round."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        return await self._act(request, principal, request.path_params["step"], {})

    async def round_csv(self, request: Request) -> Response:
        """A round as CSV: its report."""
        principal = await self._person(request, USERS, noted=True)
        found = await self._round(request, principal)
        if found is None:
            return message_page(self._deps.access, request, "not-found", 404)
        await self._note(request, principal, USERS, "reviews-exported", 200, target=str(found.number))
        items = await self._desk(principal).store.items(principal.tenant, found.number)
        return _csv(csv_of([one.finding for one in items], items), f"review-{found.number}.csv")

    async def _act(self, request: Request, principal: Principal, step: str, decisions: dict[int, Decided]) -> Response:
        found, desk, who = await self._round(request, principal), self._desk(principal), present_of(request, principal)
        if found is None or step not in ("decide", "remove", "close"):
            return message_page(self._deps.access, request, "not-found", 404)
        try:
            if step == "decide":
                await desk.decide(who, found.number, decisions)
            elif step == "close":
                await desk.close(who, found.number)
            else:
                await desk.remove(who, found.number)
        except (ReviewRefused, BundleRefused) as refused:
            return await self._one(request, principal, found, refused.reason)
        except NotAllowed:
            raise ConsoleRefused(principal, CHANGE_POLICY if step == "remove" else CHANGE_USER) from None
        return RedirectResponse(f"/reviews/{found.number}?notice={step}", 303)

    async def _one(self, request: Request, principal: Principal, found: Round, problem: str = "") -> Response:
        items = await self._desk(principal).store.items(principal.tenant, found.number)
        shown = sorted(items, key=lambda one: (one.decision is not None, not one.finding.unused, one.number))
        values: dict[str, Any] = {
            "page": "reviews",
            "round": found,
            "items": shown[:SHOWN],
            "more": max(0, len(items) - SHOWN),
            "sums": sums(items),
            "total": len(items),
            "waiting": [one for one in items if one.to_do],
            "own": {one.number for one in items if _own(one, principal)},
            "may_change": self._may(principal, CHANGE_USER),
            "decisions": DECISIONS,
            "problem": problem,
            "problems": PROBLEMS,
            "notice": request.query_params.get("notice", ""),
        }
        return self._page(request, principal, "review.html", values, status=422 if problem else 200)

    async def _look(self, request: Request, *, active: bool) -> Response:
        principal = await self._person(request, USERS, active=active)
        found = await self._find(principal, wait_s=WAIT_S if active else 0.0)
        run = self._runs.find(principal.tenant)
        rounds: Sequence[Round] = await self._desk(principal).store.rounds(principal.tenant)
        only = request.query_params.get("only", "")
        people = [] if found is None else found.of(Sort.ROLE)
        values: dict[str, Any] = {
            "page": "reviews",
            "found": found,
            "part": 0.0 if run is None else run.part,
            "people": [one for one in people if one.unused or only != "unused"],
            "total": len(people),
            "unused": sum(1 for one in people if one.unused),
            "rows": [] if found is None else found.of(Sort.ROW),
            "spread": spread(people, self._deps.access.clock()),
            "only": only,
            "days": DAYS,
            "rounds": rounds,
            "open_round": next((one for one in rounds if one.closed is None), None),
            "may_change": self._may(principal, CHANGE_USER),
            "shown": SHOWN,
        }
        return self._page(request, principal, "reviews.html", values, block=None if active else "result")

    async def _find(self, principal: Principal, *, wait_s: float | None) -> Found | None:
        """What was found; None while it is looked for. wait_s None: wait for the end."""
        run = self._runs.find(principal.tenant)
        if run is None:
            run = self._runs.begin(principal.tenant, partial(self._work, self._desk(principal)))
        assert run.task is not None
        await self._runs.wait(run, wait_s)
        return self._runs.result(principal.tenant)

    async def _work(self, desk: ReviewDesk, tell: Tell) -> Found:
        return await desk.look(DAYS, limit=ENTRIES_LIMIT, tell=tell)

    async def _round(self, request: Request, principal: Principal) -> Round | None:
        number = read_number(request.path_params["number"])
        return await self._desk(principal).store.find(principal.tenant, number) if number else None

    def _desk(self, principal: Principal) -> ReviewDesk:
        deps = self._deps
        return ReviewDesk(ReviewStore(deps.pool), deps.pool, deps.access.users, deps.desk(principal.tenant))


def _own(item: Item, principal: Principal) -> bool:
    return item.finding.sort is Sort.ROLE and item.finding.user_id == principal.id


def _csv(text: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response("\ufeff" + text, media_type="text/csv; charset=utf-8", headers=headers)
