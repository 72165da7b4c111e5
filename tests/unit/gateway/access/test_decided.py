"""DECIDED.md says what the code does: every number and address of it is compared (ASVS 6.1, 7.1, 8.1)."""

import re
from datetime import timedelta
from pathlib import Path

from gateway import cli_clients
from gateway.access import app, device, emergencies, passwords, role_changes, sign_in, throttle, users
from gateway.access.session_rules import Timeouts, WhenFull
from gateway.federation.deps import FederationDeps
from gateway.federation.pages import federation_routes
from gateway.password_words import PRODUCT
from gateway.settings import AccessSettings

FEDERATION = FederationDeps(None, None, None, None, {})  # type: ignore[arg-type]  # the routes name the pages only
TEXT = (Path(app.__file__).parent / "DECIDED.md").read_text("utf-8")
# Words of the document in one line each, so that a sentence may be broken anywhere.
WORDS = " ".join(TEXT.split())


def _section(title: str) -> str:
    return TEXT.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def _sign_in_addresses() -> set[str]:
    """Addresses somebody without a session can send something to; the others look for a session first."""
    routes = app.sign_in_routes(None)  # type: ignore[arg-type]  # the routes name the pages, nothing is called
    posted = {route.path for route in routes if "POST" in (route.methods or ())}  # type: ignore[attr-defined]
    # A provider sends the browser back by GET.
    posted |= {route.path for route in federation_routes(FEDERATION)}  # type: ignore[attr-defined]
    inside = re.compile(r"/\.crmgate/(account|device|lock|step-up|api/unlock|api/step-up|(api/)?sign-out)(/|$)")
    return {path for path in posted if not inside.match(path)}


def test_every_way_in_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"`(/\.crmgate/[a-z/{}-]+)`", _section("Ways in")))
    ways = {path.removesuffix("/ask") for path in _sign_in_addresses()}
    assert documented == ways


def test_the_words_of_the_context_are_said() -> None:
    assert f"{passwords.PASSWORD_MIN_CHARS} to {passwords.PASSWORD_MAX_CHARS} characters of any kind" in WORDS
    for word in (
        "login",
        "name",
        f"`{PRODUCT}`",
        "host of the console",
        "of each CRM its name",
        "its host and its profile",
    ):
        assert word in " ".join(_section("Passwords").split())


def test_other_systems_sessions_are_said() -> None:
    said = _section("Sessions of other systems")
    for system in ("**The CRM's.**", "**CRMs that use crmgate as OpenID provider.**"):
        assert system in said


def test_the_brakes_are_those_of_the_code() -> None:
    usual = throttle.Brakes()
    rows = [
        (brake.free, f"{brake.base_s} s", f"{brake.max_s} s", f"{brake.window_s // 3600} h")
        for brake in (usual.pair, usual.source, usual.login)
    ]
    table = [
        line.split(" | ")[1:] for line in _section("Brakes against guessing").splitlines() if line.startswith("| one")
    ]
    assert [(int(free), first, most, window.rstrip(" |")) for free, first, most, window in table] == rows
    assert usual.pair.free + 1 == 5
    assert "from one address five times before waiting begins" in WORDS
    assert f"from all addresses together {usual.login.free + 1} times" in WORDS
    assert f"for {throttle.KNOWN_SOURCE_DAYS} days after a sign-in" in WORDS
    minutes = sign_in.HALF_OPEN_LIFETIME // timedelta(minutes=1)
    assert f"takes {sign_in.HALF_OPEN_ATTEMPTS} codes and lives {minutes} minutes" in WORDS


def test_sessions_at_once_are_those_of_the_settings() -> None:
    settings = AccessSettings()
    assert f"An account has at most {settings.sessions_most} sessions" in WORDS
    assert settings.sessions_full is WhenFull.END_OLDEST
    assert "one more ends the oldest" in WORDS


def test_who_gives_rights_and_for_how_long_is_said() -> None:
    settings = AccessSettings()
    hours = int(role_changes.WAITING_LIFETIME / timedelta(hours=1))
    assert f"waits at most {hours} hours" in WORDS
    assert f"at most {settings.emergency_hours:g} hours (`access.emergency_hours`, never more" in WORDS
    assert f"than {emergencies.LONGEST / timedelta(hours=1):g})." in WORDS
    least = emergencies.SHORTEST_DELAY // timedelta(minutes=1)
    delay = (
        f"after {settings.emergency_delay_minutes} minutes (`access.emergency_delay_minutes`, never less than {least})"
    )
    assert delay in WORDS
    assert f"`{emergencies.TAG}:…`" in WORDS
    assert not settings.two_people
    assert not settings.separated


def test_the_timeouts_are_those_of_the_settings_and_the_code() -> None:
    settings, timeouts = AccessSettings(), Timeouts()
    told = f"after {settings.idle_minutes} minutes without use and after {settings.absolute_hours} hours in any case"
    assert told in WORDS
    assert timeouts.idle == timedelta(minutes=settings.idle_minutes)
    assert timeouts.absolute == timedelta(hours=settings.absolute_hours)
    assert f"{cli_clients.DAYS} days unless said otherwise" in WORDS
    assert f"once and for {users.INVITATION_LIFETIME // timedelta(hours=1)} hours" in WORDS


def test_what_of_the_surroundings_counts_is_said_with_what_follows() -> None:
    rows = [line for line in _section("What of the surroundings counts").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 6
    for row in rows:
        what, where, follows = (part.strip() for part in row.strip("|").split("|"))
        assert all((what, where))
        assert follows in {"refused", "waiting", "ends"}


def test_the_times_and_limits_of_devices_are_those_of_the_code() -> None:
    said, usual = " ".join(_section("Devices").split()), AccessSettings()
    assert (usual.devices, usual.devices_approval, usual.devices_programs) == ("off", "none", False)
    assert f"{usual.devices_renew_minutes} minutes after the last proof" in said
    assert timedelta(minutes=usual.devices_renew_minutes) <= device.RENEWAL_MAX
    assert f"lives {device.CHALLENGE_LIFETIME.total_seconds():.0f} seconds" in said
    assert f"gone after {device.FRESH_LIFETIME.total_seconds():.0f} seconds" in said
    assert f"works {device.OVERLAP.total_seconds():.0f} seconds more" in said
    assert f"at most {usual.devices_most} browsers used in the last {device.UNUSED_DAYS} days" in said
