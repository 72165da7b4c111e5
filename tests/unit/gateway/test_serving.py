"""Serving: what is done in the background goes on whatever one part of it meets."""

import asyncio
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import serving
from kms.tokens import StoreUnavailable


@pytest.mark.parametrize("fault", [StoreUnavailable("away"), RuntimeError("odd")])
async def test_a_sweep_that_fails_stops_none_of_the_others(fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SWEEP_S", 0)
    swept = asyncio.Event()
    tries = 0

    async def failing(_now: datetime) -> None:
        nonlocal tries
        tries += 1
        raise fault

    async def second(_now: datetime) -> None:
        if tries > 1:
            swept.set()

    app: Any = SimpleNamespace(sweeps=(failing, second))
    task = asyncio.create_task(serving._sweep(app))
    try:
        async with asyncio.timeout(60):
            await swept.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
