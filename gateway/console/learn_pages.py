"""Learning a CRM without a profile: watch, look at the proposal, decide, take the profile file.

Samples are masks, and no value is on these pages, because none is kept. The file is fetched, not written to the server:
which profile a tenant runs with is the operator's to set.
"""

import asyncio
import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.page import read_form
from gateway.access.tokens import new_id
from gateway.console import words
from gateway.console.pages import ConsolePages
from gateway.console.permissions import CHANGE_LEARNING, LEARNING
from gateway.exchange import Principal
from gateway.learn.desk import AnswerUnknown, Desk, NothingLearnt, Progress
from gateway.learn.profile_text import problems_of, write_profile
from gateway.learn.proposal import Proposal
from gateway.learn.propose import propose
from gateway.learn.store import LearnStore, RunUnderWay

MINUTES = (5, 10, 20, 60)
MOST_SHOWN = 200


class LearnPages(ConsolePages):
    """Learning of the tenant."""

    async def learning(self, request: Request) -> Response:
        """Progress, proposal, decisions."""
        principal = await self._person(request, LEARNING)
        values = await self._progress(request, principal)
        made = await self._made(values["progress"])
        values |= {
            "proposal": made,
            "fields": sorted(made.fields, key=lambda one: (one.entity, -one.confidence))[:MOST_SHOWN] if made else (),
            "data_kinds": words.DATA_KINDS,
            "questions": words.LEARN_QUESTIONS,
            "answers": words.LEARN_ANSWERS,
            "chosen": values["progress"].run.answers if values["progress"] else {},
            "usable": made is not None and not problems_of(made.source),
            "minutes": MINUTES,
        }
        return self._page(request, principal, "learning.html", values)

    async def now(self, request: Request) -> Response:
        """The progress alone, for the page itself."""
        principal = await self._person(request, LEARNING, active=False)
        return self._page(request, principal, "learning.html", await self._progress(request, principal), block="now")

    async def steer(self, request: Request) -> Response:
        """Begin or stop watching."""
        principal = await self._person(request, CHANGE_LEARNING)
        given = await read_form(request)
        now = self._deps.access.clock()
        if given.get("step") == "stop":
            await self._note(request, principal, CHANGE_LEARNING, "learning-stopped", 303)
            stopped = await self._desk().stop(principal.tenant, now)
            return _back("learning-stopped" if stopped else "learning-ended")
        minutes = given.get("minutes", "")
        if given.get("step") != "start" or minutes not in map(str, MINUTES) or not self._learnable(principal):
            return _back("learning-not-possible")
        await self._note(request, principal, CHANGE_LEARNING, "learning-started", 303)
        try:
            run = new_id("l", secrets.token_bytes)
            await self._desk().start(principal.tenant, run, now, int(minutes), principal.login)
        except RunUnderWay:
            return _back("learning-under-way")
        return _back("learning-started")

    async def decide(self, request: Request) -> Response:
        """Keep what was decided."""
        principal = await self._person(request, CHANGE_LEARNING)
        given = {name: answer for name, answer in (await read_form(request)).items() if answer}
        await self._note(request, principal, CHANGE_LEARNING, "learning-decided", 303, count=len(given))
        try:
            await self._desk().decide(principal.tenant, principal.tenant, given, self._deps.access.clock())
        except (AnswerUnknown, NothingLearnt):
            return _back("learning-not-decided")
        return _back("learning-decided")

    async def accept(self, request: Request) -> Response:
        """The proposed profile as a file; watching ends."""
        principal = await self._person(request, CHANGE_LEARNING)
        now = self._deps.access.clock()
        values = await self._progress(request, principal)
        made = await self._made(values["progress"])
        if made is None or problems_of(made.source):
            return _back("learning-not-usable")
        await self._note(request, principal, CHANGE_LEARNING, "learning-accepted", 200, count=len(made.fields))
        await self._desk().stop(principal.tenant, now)
        return Response(
            write_profile(made.source, f"{now:%Y-%m-%d}"),
            media_type="application/yaml; charset=utf-8",
            headers={
                "content-disposition": f'attachment; filename="{made.source["profile"]}.yaml"',
                "cache-control": "no-store",
            },
        )

    def _desk(self) -> Desk:
        return Desk(LearnStore(self._deps.pool))

    def _learnable(self, principal: Principal) -> bool:
        return self._deps.learnable(principal.tenant)

    async def _progress(self, request: Request, principal: Principal) -> dict[str, Any]:
        try:
            progress: Progress | None = await self._desk().progress(principal.tenant, self._deps.access.clock())
        except NothingLearnt:
            progress = None
        return {
            "page": "learning",
            "progress": progress,
            "learnable": self._learnable(principal),
            "may_change": self._may(principal, CHANGE_LEARNING),
            "tenant": principal.tenant,
            "notice": request.query_params.get("notice", ""),
        }

    async def _made(self, progress: Progress | None) -> Proposal | None:
        """The proposal, made in a thread: it takes as long as a session was rich."""
        if progress is None or not progress.evidence.exchanges:
            return None
        run = progress.run
        return await asyncio.to_thread(propose, run.tenant, progress.evidence, run.document, run.answers)


def _back(notice: str) -> Response:
    return RedirectResponse(f"/learning?notice={notice}", 303)
