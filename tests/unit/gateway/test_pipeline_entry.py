"""A session is refused from where and when its person may not be, before anything is asked of the CRM, and once."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.entry_config import EntrySettings, RoleEntrySettings, entry_of
from tests.unit.gateway.test_pipeline import ANNA, HOST, FakeGateway, call


def bound(settings: EntrySettings | None, networks: str = "") -> FakeGateway:
    gw = FakeGateway()
    entry = None if settings is None else entry_of(settings)
    gw.tenants = {HOST: replace(gw.tenants[HOST], entry=entry)}
    gw.sessions.hit = replace(ANNA, networks=networks)
    return gw


def of_role(network: str) -> EntrySettings:
    return EntrySettings(roles={role: RoleEntrySettings(networks=(ip_network(network),)) for role in ANNA.roles})


@pytest.mark.parametrize(
    ("settings", "networks", "reason"),
    [
        (of_role("198.51.100.0/24"), "", "place-not-allowed"),
        (None, "198.51.100.0/24 2001:db8::/32", "place-not-allowed"),
        (of_role("203.0.113.0/24"), "198.51.100.0/24", "place-not-allowed"),
        (EntrySettings(("Mon 08:00-09:00",), "UTC"), "", "hour-not-allowed"),
    ],
)
async def test_a_session_from_elsewhere_is_refused_and_recorded_once(
    settings: EntrySettings | None, networks: str, reason: str
) -> None:
    gw = bound(settings, networks)
    reply = await call(gw)
    assert (reply.status, reply.reason) == (403, reason)
    assert gw.log == [f"audit:refusal:{reason}"]
    assert gw.audit.entries[0].actor == ANNA.id
    assert gw.counted == []


@pytest.mark.parametrize(
    ("settings", "networks"),
    [
        (of_role("203.0.113.0/24"), "203.0.113.9/32"),
        (None, "203.0.113.9/32"),
        (EntrySettings(("Sun 00:00-01:00",), "UTC"), ""),  # the clock of the fake gateway
    ],
)
async def test_from_the_right_place_at_the_right_hour_it_passes(settings: Any, networks: str) -> None:
    assert (await call(bound(settings, networks))).status == 200


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_the_refusal_is_said_in_both_languages(language: str) -> None:
    reply = await call(bound(of_role("198.51.100.0/24")), "GET", "/", (b"accept-language", language.encode()))
    assert {"en": "certain networks", "zh": "指定网络"}[language] in reply.body.decode()
