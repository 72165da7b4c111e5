"""The console as one Starlette application: its routes on its own host, with the same sign-in pages mounted."""

from collections.abc import Sequence
from dataclasses import replace

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.access.app import BODY_LIMIT_BYTES, fault_handlers, sign_in_routes
from gateway.access.deps import AccessDeps, NavigationItem
from gateway.access.sessions import AUDIENCE_CONSOLE
from gateway.console.activity_pages import ActivityPages
from gateway.console.deps import ConsoleDeps
from gateway.console.device_pages import DevicePages
from gateway.console.emergency_pages import EmergencyPages
from gateway.console.explain_pages import ExplainPages
from gateway.console.guard import Guard
from gateway.console.health_pages import HealthPages
from gateway.console.key_pages import KeyPages
from gateway.console.learn_pages import LearnPages
from gateway.console.ledger_pages import LedgerPages
from gateway.console.pack_pages import PackPages
from gateway.console.pages import answer_refused, answer_sign_in
from gateway.console.people_pages import PeoplePages
from gateway.console.permissions import ConsoleRefused, SignInNeeded, navigation
from gateway.console.place_pages import PlacePages
from gateway.console.policy_pages import PolicyPages
from gateway.console.program_pages import ProgramPages
from gateway.console.query_pages import QueryPages
from gateway.console.reset_pages import ResetPages
from gateway.console.review_pages import ReviewPages
from gateway.console.role_change_pages import RoleChangePages
from gateway.console.saved_pages import SavedPages
from gateway.console.simulation_pages import SimulationPages
from gateway.console.timeline_pages import TimelinePages


def make_console_app(deps: ConsoleDeps, more: Sequence[BaseRoute] = ()) -> Starlette:
    """The console of one installation; its listener, host and cookie are its own. more: sign-in of other packages."""
    deps = replace(deps, access=_with_navigation(deps))

    async def sign_in_needed(request: Request, _fault: Exception) -> Response:
        return await answer_sign_in(request)

    async def refused(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, ConsoleRefused)
        return await answer_refused(deps, request, fault)

    return Starlette(
        routes=[*console_routes(deps), *sign_in_routes(deps.access), *more],
        middleware=[Middleware(Guard)],
        exception_handlers={
            **fault_handlers(deps.access),
            SignInNeeded: sign_in_needed,
            ConsoleRefused: refused,
        },
        max_body_size=BODY_LIMIT_BYTES,
    )


def console_routes(deps: ConsoleDeps) -> list[BaseRoute]:
    """Every page of the console; a test asserts that each of them asks for a right."""
    activity, people, state, keys = ActivityPages(deps), PeoplePages(deps), HealthPages(deps), KeyPages(deps)
    learn, places, resets = LearnPages(deps), PlacePages(deps), ResetPages(deps)
    programs, ledger, changes = ProgramPages(deps), LedgerPages(deps), RoleChangePages(deps)
    policy, explained, simulated = PolicyPages(deps), ExplainPages(deps), SimulationPages(deps)
    browsers = DevicePages(deps)
    emergency = EmergencyPages(deps)
    asked, packs, saved = TimelinePages(deps), PackPages(deps), SavedPages(deps)
    reviews, queries = ReviewPages(deps), QueryPages(deps)
    return [
        Route("/", activity.overview, methods=["GET"]),
        Route("/now", activity.overview_now, methods=["GET"]),
        Route("/activity", activity.activity, methods=["GET"]),
        Route("/activity/rows", activity.rows, methods=["GET"]),
        Route("/activity/{index}", activity.entry, methods=["GET"]),
        Route("/trail", asked.timeline, methods=["GET"]),
        Route("/trail/pack", packs.show, methods=["GET"]),
        Route("/trail/pack", packs.make, methods=["POST"]),
        Route("/trail/pack/now", packs.now, methods=["GET"]),
        Route("/trail/pack/file", packs.fetch, methods=["GET"]),
        Route("/trail/saved", saved.saved, methods=["GET"]),
        Route("/trail/saved", saved.save, methods=["POST"]),
        Route("/trail/saved/{saved}", saved.use, methods=["GET"]),
        Route("/trail/saved/{saved}", saved.change, methods=["POST"]),
        Route("/trail/saved/{saved}/delete", saved.delete, methods=["POST"]),
        Route("/query", queries.form, methods=["GET"]),
        Route("/query", queries.ask, methods=["POST"]),
        Route("/query/{query}", queries.show, methods=["GET"]),
        Route("/query/{query}/now", queries.now, methods=["GET"]),
        Route("/query/{query}/csv", queries.csv, methods=["GET"]),
        Route("/query/{query}/cancel", queries.cancel, methods=["POST"]),
        Route("/reveals", ledger.ledger, methods=["GET"]),
        Route("/sessions", people.sessions, methods=["GET"]),
        Route("/sessions/rows", people.session_rows, methods=["GET"]),
        Route("/sessions/{session}/end", people.ask_end_session, methods=["GET"]),
        Route("/sessions/{session}/end", people.end_session, methods=["POST"]),
        Route("/users", people.users, methods=["GET"]),
        Route("/users/new", people.new_user, methods=["GET"]),
        Route("/users/new", people.create_user, methods=["POST"]),
        Route("/users/{user}", people.user, methods=["GET"]),
        Route("/users/{user}", people.change_user, methods=["POST"]),
        Route("/users/{user}/reset", resets.ask_start, methods=["GET"]),
        Route("/users/{user}/reset", resets.start, methods=["POST"]),
        Route("/users/{user}/approve-reset", resets.ask_approve, methods=["GET"]),
        Route("/users/{user}/approve-reset", resets.approve, methods=["POST"]),
        Route("/users/{user}/withdraw-reset", resets.ask_withdraw, methods=["GET"]),
        Route("/users/{user}/withdraw-reset", resets.withdraw, methods=["POST"]),
        Route("/users/{user}/devices", browsers.show, methods=["GET"]),
        Route("/users/{user}/devices/{device}/{action}", browsers.change, methods=["POST"]),
        Route("/users/{user}/networks", places.show, methods=["GET"]),
        Route("/users/{user}/networks", places.change, methods=["POST"]),
        Route("/users/{user}/{action}", people.ask_action, methods=["GET"]),
        Route("/users/{user}/{action}", people.act, methods=["POST"]),
        Route("/changes", changes.changes, methods=["GET"]),
        Route("/changes/{change}", changes.change, methods=["GET"]),
        Route("/changes/{change}/approve", changes.approve, methods=["POST"]),
        Route("/changes/{change}/withdraw", changes.withdraw, methods=["POST"]),
        Route("/emergency", emergency.emergencies, methods=["GET"]),
        Route("/emergency", emergency.ask, methods=["POST"]),
        Route("/emergency/{emergency}/approve", emergency.approve, methods=["POST"]),
        Route("/emergency/{emergency}/end", emergency.end, methods=["POST"]),
        Route("/roles", people.roles, methods=["GET"]),
        Route("/reviews", reviews.reviews, methods=["GET"]),
        Route("/reviews", reviews.start, methods=["POST"]),
        Route("/reviews/now", reviews.now, methods=["GET"]),
        Route("/reviews/export", reviews.found_csv, methods=["GET"]),
        Route("/reviews/{number}", reviews.round, methods=["GET"]),
        Route("/reviews/{number}", reviews.decide, methods=["POST"]),
        Route("/reviews/{number}/export", reviews.round_csv, methods=["GET"]),
        Route("/reviews/{number}/{step}", reviews.step, methods=["POST"]),
        Route("/policy", policy.bundles, methods=["GET"]),
        Route("/policy/new", policy.new, methods=["GET"]),
        Route("/policy/new", policy.draft, methods=["POST"]),
        Route("/policy/explain", explained.explain, methods=["GET"]),
        Route("/policy/{number}", policy.bundle, methods=["GET"]),
        Route("/policy/{number}/simulation", simulated.simulation, methods=["GET"]),
        Route("/policy/{number}/simulation/now", simulated.now, methods=["GET"]),
        Route("/policy/{number}/{step}", policy.ask_step, methods=["GET"]),
        Route("/policy/{number}/{step}", policy.step, methods=["POST"]),
        Route("/programs", programs.programs, methods=["GET"]),
        Route("/keys", keys.keys, methods=["GET"]),
        Route("/keys/rotations", keys.rotations, methods=["GET"]),
        Route("/keys/rotations/{job}", keys.steer, methods=["POST"]),
        Route("/keys/destroyed/{destruction}", keys.certificate, methods=["GET"]),
        Route("/learning", learn.learning, methods=["GET"]),
        Route("/learning", learn.steer, methods=["POST"]),
        Route("/learning/now", learn.now, methods=["GET"]),
        Route("/learning/decisions", learn.decide, methods=["POST"]),
        Route("/learning/profile", learn.accept, methods=["POST"]),
        Route("/health", state.health, methods=["GET"]),
        Route("/health/verify", state.verify, methods=["POST"]),
    ]


def _with_navigation(deps: ConsoleDeps) -> AccessDeps:
    def pages(principal, translate) -> list[NavigationItem]:  # type: ignore[no-untyped-def]
        return navigation(deps.policy(principal.tenant), principal, translate)

    return replace(deps.access, audience=AUDIENCE_CONSOLE, navigation=pages)
