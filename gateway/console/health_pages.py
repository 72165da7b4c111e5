"""Health of the installation, and the verification of the audit trail on demand."""

from starlette.requests import Request
from starlette.responses import Response

from audit.verify import LogTampered, Verified
from gateway.console import health
from gateway.console.pages import ConsolePages
from gateway.console.permissions import HEALTH


class HealthPages(ConsolePages):
    """What the gateway rests on."""

    async def health(self, request: Request) -> Response:
        """Every check."""
        return await self._answer(request, None, "")

    async def verify(self, request: Request) -> Response:
        """Verify the whole trail and say what was found."""
        principal = await self._person(request, HEALTH)
        try:
            verified = await self._deps.trail.verify(principal.tenant)
        except LogTampered as found:
            place = str(found.index if found.index is not None else found.checkpoint)
            await self._note(request, principal, HEALTH, "trail-tampered", 200, target=place)
            return await self._answer(request, None, str(found))
        await self._note(request, principal, HEALTH, "trail-verified", 200, count=verified.entries)
        return await self._answer(request, verified, "")

    async def _answer(self, request: Request, verified: Verified | None, tampered: str) -> Response:
        principal = await self._person(request, HEALTH)
        checks = await health.read(self._deps, principal.tenant)
        anchors = self._deps.anchors
        values = {
            "page": "health",
            "pending": self._deps.pending(),
            "anchors": anchors.states(principal.tenant) if anchors is not None else [],
            "published": anchors.published(principal.tenant) if anchors is not None else 0,
            "checks": checks,
            "worst": health.worst(checks),
            "verified": verified,
            "tampered": tampered,
            "version": self._deps.version,
            "trail": await self._deps.trail.state(principal.tenant),
        }
        return self._page(request, principal, "health.html", values)
