"""An evidence pack of what a question found: made in the background, followed on a page, fetched once it is there.

It stays in the memory of the node that made it, for some minutes; on another node the page offers to make it again.
Making one and fetching one are on record.
"""

import asyncio
import io
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit import answers, store
from audit.answers import EntryUnread, NothingToLookUp
from audit.pack import program_digest
from audit.pack_choice import Packed, PackRefused, Wanted
from audit.question import Question
from audit.sealed import BROKEN, GONE
from audit.store import Filters
from audit.verify import LogTampered
from gateway.access.page import read_form
from gateway.access.pages import message_page
from gateway.access.store import connection
from gateway.bundles.in_force import policies_in_force
from gateway.console.background import Runs, Tell
from gateway.console.deps import ConsoleDeps
from gateway.console.inquiry import Inquiry, read_inquiry
from gateway.console.permissions import EXPORT_AUDIT
from gateway.console.timeline_pages import TrailPages, asked, back_to
from gateway.exchange import Principal

ENTRIES_LIMIT = 20_000
WAIT_S = 0.5


@dataclass(frozen=True, slots=True)
class Made:
    """A pack, or why there is none. refused: in the words of audit.pack; changed: the trail is not what was signed;

    away: the archive does not hand out what is sealed.
    """

    packed: Packed | None = None
    content: bytes = b""
    too_many: bool = False
    nothing: bool = False
    changed: bool = False
    away: bool = False


class PackPages(TrailPages):
    """Ask for one, follow it, fetch it."""

    def __init__(self, deps: ConsoleDeps) -> None:
        super().__init__(deps)
        self._runs: Runs[Made] = Runs()

    async def make(self, request: Request) -> Response:
        """Begin a pack of the answers to a question."""
        principal = await self._person(request, EXPORT_AUDIT)
        inquiry = read_inquiry(await read_form(request))
        question, _ = await self._question(principal, inquiry)
        if question is None:
            return back_to(inquiry)
        await self._note(request, principal, EXPORT_AUDIT, "trail-pack-made", 202, **asked(question))
        run = self._runs.find(_key(principal, inquiry))
        if run is None or run.done:
            run = self._runs.begin(_key(principal, inquiry), partial(self._work, principal.tenant, question))
        await self._runs.wait(run, WAIT_S)
        return RedirectResponse("/trail/pack" + inquiry.query(), 303)

    async def show(self, request: Request) -> Response:
        """How far it is, and where it can be fetched."""
        principal = await self._person(request, EXPORT_AUDIT)
        return self._shown(request, principal)

    async def now(self, request: Request) -> Response:
        """The changing part, for the page itself."""
        principal = await self._person(request, EXPORT_AUDIT, active=False)
        return self._shown(request, principal, block="state")

    async def fetch(self, request: Request) -> Response:
        """The zip."""
        principal = await self._person(request, EXPORT_AUDIT, noted=True)
        inquiry = read_inquiry(request.query_params)
        made = self._runs.result(_key(principal, inquiry)) if self._runs.find(_key(principal, inquiry)) else None
        question, _ = await self._question(principal, inquiry)
        if made is None or made.packed is None or question is None:
            return message_page(self._deps.access, request, "not-found", 404)
        await self._note(request, principal, EXPORT_AUDIT, "trail-pack-fetched", 200, **asked(question))
        headers = {"content-disposition": f'attachment; filename="{_file_name(made.packed)}"'}
        return Response(made.content, media_type="application/zip", headers=headers)

    def _shown(self, request: Request, principal: Principal, block: str | None = None) -> Response:
        inquiry = read_inquiry(request.query_params)
        key = _key(principal, inquiry)
        run = self._runs.find(key)
        made = None if run is None else self._runs.result(key)
        values = {
            "page": "trail",
            "inquiry": inquiry,
            "running": run is not None and not run.done,
            "part": 0.0 if run is None else run.part,
            "made": made,
            "size": 0 if made is None else len(made.content),
            "file": "" if made is None or made.packed is None else _file_name(made.packed),
            "key": self._deps.trail.key(principal.tenant),
            "digest": program_digest(),
            "limit": ENTRIES_LIMIT,
        }
        return self._page(request, principal, "trail_pack.html", values, block=block)

    async def _work(self, tenant: str, question: Question, tell: Tell) -> Made:
        try:
            async with connection(self._deps.pool, tenant) as db:
                await store.snapshot(db)
                chosen = await answers.places(db, tenant, question, ENTRIES_LIMIT, self._deps.trail.archive)
            if len(chosen) > ENTRIES_LIMIT:
                return Made(too_many=True)
            target = io.BytesIO()
            wanted = Wanted(
                Filters(),
                self._deps.access.clock(),
                await policies_in_force(self._deps.pool, tenant),
                ENTRIES_LIMIT,
                chosen=chosen,
                asked={name: str(getattr(question, name)) for name in question.names},
                tell=lambda entries: tell(entries / max(1, len(chosen))),
            )
            packed = await self._deps.trail.pack(tenant, wanted, target)
        except (PackRefused, NothingToLookUp):
            return Made(nothing=True)
        except LogTampered:
            return Made(changed=True)
        except EntryUnread as fault:
            if fault.lost in (answers.CHANGED, GONE, BROKEN):
                return Made(changed=True)
            return Made(away=True)
        return Made(packed, await asyncio.to_thread(target.getvalue))


def _key(principal: Principal, inquiry: Inquiry) -> tuple[str, str, str]:
    return principal.tenant, principal.id, inquiry.query()


def _file_name(packed: Packed) -> str:
    """Numbers only: what was asked stays out of the names of files."""
    return f"evidence-{packed.first}-{packed.last}.zip"
