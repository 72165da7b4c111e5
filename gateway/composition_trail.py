"""The signed log over HTTP, where the settings name networks that may read it."""

from contextlib import AsyncExitStack

from audit.archive import Archive
from audit.log import AuditLog
from audit.note import Verifier
from audit.tile_site import TileSite
from gateway.accounts import utc_now
from gateway.collaborators import Application
from gateway.database import Pool
from gateway.network import Allowlist
from gateway.settings import Settings
from gateway.trail_site import TrailSite


async def with_trail(
    stack: AsyncExitStack,
    settings: Settings,
    database: Pool,
    audit: AuditLog,
    verifier: Verifier,
    archive: Archive,
    console: Application,
) -> Application:
    """The console, with the log in front of it where somebody may read it; the stack ends what keeps it fresh."""
    wanted = settings.audit
    if not wanted.tiles_networks:
        return console  # an empty list of networks would let in everybody
    site = TileSite(
        database,
        verifier,
        settings.state / "tiles",
        interval_s=wanted.tiles_seconds,
        entries=wanted.tiles_entries,
        archive=archive,
    )
    await site.start()
    stack.push_async_callback(site.close)
    return TrailSite(site, audit, tuple(settings.tenants), Allowlist(wanted.tiles_networks), utc_now).before(console)
