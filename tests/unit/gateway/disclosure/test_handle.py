"""Handles: forged, another session's, another tenant's and old ones open nothing."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest

from gateway.database import Pool
from gateway.disclosure.handle import HANDLE_LIMIT_CHARS, LIFETIME, MASKS_LIMIT, HandleInvalid, Mask, open_handle
from gateway.disclosure.handle import seal_handle as seal
from tests.unit.gateway.disclosure.room import sealer_over

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MASKS = [Mask("+8887000000123", "phone", "contact", "phone", str(number)) for number in range(60)]


async def test_a_handle_opens_for_its_session_until_it_is_old(pool: Pool, keyring_path) -> None:
    async with sealer_over(pool, keyring_path) as sealer:
        handle = await seal(sealer, "t1", "s-1", MASKS, NOW)
        assert len(handle) < HANDLE_LIMIT_CHARS
        assert "8887000000123" not in handle
        assert list(await open_handle(sealer, "t1", "s-1", handle, NOW)) == MASKS[:MASKS_LIMIT]
        changed = handle[:60] + ("A" if handle[60] != "A" else "B") + handle[61:]
        wrong = [
            ("t2", "s-1", handle, NOW),
            ("t1", "s-2", handle, NOW),
            ("t1", "s-1", handle, NOW + LIFETIME),
            ("t1", "s-1", changed, NOW),
            ("t1", "s-1", handle[:-4], NOW),
            ("t1", "s-1", "", NOW),
            ("t1", "s-1", "é" * 40, NOW),
            ("t1", "s-1", "A" * (HANDLE_LIMIT_CHARS + 1), NOW),
            ("t1", "s-1", urlsafe_b64encode(b"\x01" * 80).decode(), NOW),
        ]
        for tenant, session, text, now in wrong:
            with pytest.raises(HandleInvalid):
                await open_handle(sealer, tenant, session, text, now)
