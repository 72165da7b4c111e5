"""Who is on, users and roles: lists, forms and the actions on them.

An action that hurts is a page of its own that names whom it hurts and asks for a reason from a list (free text would
put personal data into the trail). It is audited before it is done. Nobody changes their own roles or closes their own
account, so that rights always come from somebody else and an installation cannot lock itself out.
"""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.account_pages import SET_UP_PATH
from gateway.access.giving import Rights, rights_changed, rights_of
from gateway.access.page import language_of, read_form
from gateway.access.pages import message_page
from gateway.access.role_changes import RoleChangeRefused
from gateway.access.store import LoginTaken
from gateway.access.user import AppUser
from gateway.access.users import LANGUAGES, AccountRefused, Profile
from gateway.console import role_matrix
from gateway.console.pages import ConsolePages
from gateway.console.permissions import AGREE_RIGHTS, CHANGE_USER, END_SESSION, SESSIONS, USERS, Right
from gateway.console.words import N_, RIGHTS_REASONS, ROLES
from gateway.difference import difference
from gateway.exchange import Principal
from policies.rows import Grant

# Why somebody does something that hurts; ids for the trail, words for people.
CAUSES = {
    "left-company": N_("The person has left"),
    "lost-device": N_("Phone or computer lost"),
    "misuse-suspected": N_("Misuse suspected"),
    "asked-for": N_("The person asked for it"),
    "clean-up": N_("Tidying up"),
}
ACTIONS = ("disable", "enable", "invite")


class PeoplePages(ConsolePages):
    """Sessions, users and roles of the tenant."""

    async def sessions(self, request: Request) -> Response:
        """Who is on."""
        principal = await self._person(request, SESSIONS)
        return self._page(request, principal, "sessions.html", await self._sessions(request, principal))

    async def session_rows(self, request: Request) -> Response:
        """The list alone, for the page itself."""
        principal = await self._person(request, SESSIONS, active=False)
        return self._page(request, principal, "sessions.html", await self._sessions(request, principal), block="rows")

    async def _sessions(self, request: Request, principal: Principal) -> dict[str, Any]:
        deps = self._deps.access
        return {
            "page": "sessions",
            "sessions": await deps.sessions.list(principal.tenant, deps.clock()),
            "may_end": self._may(principal, END_SESSION),
            "notice": request.query_params.get("notice", ""),
        }

    async def ask_end_session(self, request: Request) -> Response:
        """Ask before a session is ended."""
        principal = await self._person(request, END_SESSION)
        session = await self._session(principal, request.path_params["session"])
        if session is None:
            return RedirectResponse("/sessions?notice=session-gone", 303)
        values = {"page": "sessions", "action": "end-session", "name": session.login, "session": session, "user": None}
        return self._page(request, principal, "confirm.html", values | {"causes": CAUSES, "problem": ""})

    async def end_session(self, request: Request) -> Response:
        """End a session."""
        principal = await self._person(request, END_SESSION)
        session = await self._session(principal, request.path_params["session"])
        if session is None:
            return RedirectResponse("/sessions?notice=session-gone", 303)
        cause = (await read_form(request)).get("cause", "")
        if cause not in CAUSES:
            values = {"page": "sessions", "action": "end-session", "name": session.login, "session": session}
            values |= {"user": None, "causes": CAUSES, "problem": "cause-missing"}
            return self._page(request, principal, "confirm.html", values, status=422)
        await self._note(
            request,
            principal,
            END_SESSION,
            "session-ended-by-administrator",
            303,
            target=session.user_id,
            detail=[cause, f"session.{session.id}"],
        )
        await self._deps.access.sessions.end(session.id, "ended-by-administrator")
        return RedirectResponse("/sessions?notice=session-ended", 303)

    async def _session(self, principal: Principal, session_id: str) -> Any:
        deps = self._deps.access
        rows = await deps.sessions.list(principal.tenant, deps.clock())
        return next((row for row in rows if row.id == session_id), None)

    async def users(self, request: Request) -> Response:
        """Every account."""
        principal = await self._person(request, USERS)
        deps = self._deps.access
        values = {
            "page": "users",
            "users": await deps.users.list(principal.tenant),
            "invited": await deps.users.invited(principal.tenant),
            "may_change": self._may(principal, CHANGE_USER),
            "notice": request.query_params.get("notice", ""),
        }
        return self._page(request, principal, "users.html", values)

    async def new_user(self, request: Request) -> Response:
        """The form for a new account."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        return self._form(request, principal, None, {}, "")

    async def create_user(self, request: Request) -> Response:
        """Add an account and issue its invitation."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        form = await self._read(request)
        if self._deps.access.role_changes.giving.two_people:
            return await self._create_bare(request, principal, form)
        try:
            profile = _profile(form)
            await self._deps.access.users.check_new(principal.tenant, form["login"][0], profile)
            await self._note(request, principal, CHANGE_USER, "user-created", 200, roles=list(profile.roles))
            user = await self._deps.access.users.create(principal.tenant, form["login"][0], profile)
        except (AccountRefused, LoginTaken) as refused:
            problem = refused.problem if isinstance(refused, AccountRefused) else "login-taken"
            return self._form(request, principal, None, form, problem)
        return await self._invite(request, principal, user, fresh=True)

    async def _create_bare(self, request: Request, principal: Principal, form: dict[str, list[str]]) -> Response:
        """Add an account without rights, and ask a second person for those it is to have."""
        access, profile, reason = self._deps.access, _profile(form), form["reason"][0]
        changes, bare = access.role_changes, replace(profile, roles=(), crm_user="")
        after = Rights(tuple(sorted(set(profile.roles))), (), profile.crm_user.strip())
        wished = bool(after.everything or after.crm_user)
        try:
            await access.users.check_new(principal.tenant, form["login"][0], bare)
            if wished:
                changes.check_wish(principal.tenant, after, reason)
            await self._note(request, principal, CHANGE_USER, "user-created", 200, roles=[])
            user = await access.users.create(principal.tenant, form["login"][0], bare)
            if wished:
                await self._ask_rights(request, principal, user, after, reason)
        except (AccountRefused, RoleChangeRefused, LoginTaken) as refused:
            problem = "login-taken" if isinstance(refused, LoginTaken) else refused.problem
            return self._form(request, principal, None, form, problem)
        return await self._invite(request, principal, user, fresh=True, asked=wished)

    async def _ask_rights(
        self, request: Request, principal: Principal, user: AppUser, after: Rights, reason: str
    ) -> str:
        changes = self._deps.access.role_changes
        await changes.check_ask(user, after, principal.id, reason)
        await self._note(
            request,
            principal,
            CHANGE_USER,
            "rights-asked",
            303,
            target=user.id,
            roles=sorted(after.everything),
            change=rights_changed(rights_of(user), after),
            detail=reason,
        )
        return await changes.ask(user, after, principal.id, reason)

    async def user(self, request: Request) -> Response:
        """One account."""
        principal = await self._person(request, USERS)
        user = await self._user(principal, request)
        if user is None:
            return message_page(self._deps.access, request, "not-found", 404)
        form = {
            "login": [user.login],
            "display_name": [user.display_name],
            "roles": list(user.assigned),
            "crm_user": [user.crm_user],
            "language": [user.language],
        }
        waiting = await self._deps.access.resets.waiting(user)
        change = await self._deps.access.role_changes.waiting_for(user)
        return self._form(request, principal, user, form, "", waiting=waiting, change=change)

    async def change_user(self, request: Request) -> Response:
        """Change roles, name, CRM key or language."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        user = await self._user(principal, request)
        if user is None:
            return message_page(self._deps.access, request, "not-found", 404)
        form = await self._read(request)
        profile = _profile(form)
        changes = self._deps.access.role_changes
        after = replace(rights_of(user), roles=tuple(sorted(set(profile.roles))), crm_user=profile.crm_user.strip())
        asks = changes.needs_second(user, after)
        if user.id == principal.id and (asks or set(profile.roles) != set(user.assigned)):
            return self._form(request, principal, user, form, "own-roles")
        if asks:
            return await self._change_asked(request, principal, user, form, after)
        changed = _changed(user, profile)
        await self._note(
            request,
            principal,
            CHANGE_USER,
            "user-changed",
            303,
            target=user.id,
            roles=list(profile.roles),
            change=changed,
        )
        try:
            await self._deps.access.users.change(user, profile)
        except AccountRefused as refused:
            return self._form(request, principal, user, form, refused.problem)
        return RedirectResponse("/users?notice=user-changed", 303)

    async def _change_asked(
        self, request: Request, principal: Principal, user: AppUser, form: dict[str, list[str]], after: Rights
    ) -> Response:
        """Ask a second person for the rights; name and language change at once."""
        kept = replace(_profile(form), roles=user.assigned, crm_user=user.crm_user)
        try:
            name = await self._ask_rights(request, principal, user, after, form["reason"][0])
            if changed := _changed(user, kept):
                await self._note(request, principal, CHANGE_USER, "user-changed", 303, target=user.id, change=changed)
                await self._deps.access.users.change(user, kept)
        except (RoleChangeRefused, AccountRefused) as refused:
            return self._form(request, principal, user, form, refused.problem)
        return RedirectResponse(f"/changes/{name}?notice=rights-asked", 303)

    async def ask_action(self, request: Request) -> Response:
        """Ask before something that hurts."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        user, action = await self._user(principal, request), request.path_params["action"]
        if user is None or action not in ACTIONS:
            return message_page(self._deps.access, request, "not-found", 404)
        return self._confirm(request, principal, user, action, "")

    async def act(self, request: Request) -> Response:
        """Close, reopen or invite."""
        principal = await self._person(request, CHANGE_USER, proof=True)
        user, action = await self._user(principal, request), request.path_params["action"]
        if user is None or action not in ACTIONS:
            return message_page(self._deps.access, request, "not-found", 404)
        if user.id == principal.id:
            return self._confirm(request, principal, user, action, "own-account")
        if action == "invite":
            # The link sets new factors: for an account that has some it takes two people, in reset_pages.
            if user.has_password or user.has_second_factor:
                return self._confirm(request, principal, user, action, "has-factors")
            return await self._invite(request, principal, user)
        cause = (await read_form(request)).get("cause", "")
        if cause not in CAUSES:
            return self._confirm(request, principal, user, action, "cause-missing")
        reason = {"disable": "user-disabled", "enable": "user-enabled"}[action]
        await self._note(request, principal, CHANGE_USER, reason, 303, target=user.id, detail=cause)
        users = self._deps.access.users
        await (users.disable(user) if action == "disable" else users.enable(user))
        return RedirectResponse(f"/users?notice={reason}", 303)

    async def roles(self, request: Request) -> Response:
        """Which role sees which field in which form."""
        principal = await self._person(request, USERS)
        policy = self._deps.policy(principal.tenant)
        names = self._role_names(principal)
        views = {name: policy.view(principal.tenant, (name,)) for name in names}
        fields = self._deps.fields(principal.tenant)

        def limited(role: str, obj: str) -> list[Grant]:
            return policy.limited(principal.tenant, (role,), obj)

        shown = [
            name
            for name in names
            if any(_sees(rule) for rule in (*views[name].by_kind.values(), *views[name].rules.values()))
            or any(limited(name, f"field:{one.entity}.{one.name}#{one.kind}") for one in fields if one.kind is not None)
        ]
        exports = {name: policy.export_view(principal.tenant, (name,)) for name in shown}
        tables = role_matrix.build(fields, {name: views[name] for name in shown}, exports, limited)
        values = {
            "page": "roles",
            "tables": tables,
            "columns": shown,
            "roles": names,
            "version": policy.version,
            "crm": self._deps.crm(principal.tenant),
        }
        return self._page(request, principal, "roles.html", values)

    def _role_names(self, principal: Principal) -> list[str]:
        """Roles in the order of the shipped ones, the customer's own behind them."""
        shipped = list(ROLES)
        known = self._deps.policy(principal.tenant).roles
        return [name for name in shipped if name in known] + sorted(name for name in known if name not in shipped)

    async def _user(self, principal: Principal, request: Request) -> AppUser | None:
        return await self._deps.access.users.get(principal.tenant, request.path_params["user"])

    async def _read(self, request: Request) -> dict[str, list[str]]:
        form = await request.form(max_fields=60, max_files=0)
        read: dict[str, list[str]] = {}
        for name in ("login", "display_name", "crm_user", "language", "reason", "roles"):
            values = [value for value in form.getlist(name) if isinstance(value, str) and len(value) <= 400]
            read[name] = values or ([] if name == "roles" else [""])
        return read

    def _form(
        self,
        request: Request,
        principal: Principal,
        user: AppUser | None,
        form: dict[str, list[str]],
        problem: str,
        *,
        waiting: Any = None,
        change: Any = None,
    ) -> Response:
        names = ("login", "display_name", "crm_user", "language", "reason")
        empty: dict[str, list[str]] = {name: [""] for name in names}
        values = {
            "page": "users",
            "user": user,
            "form": empty | {"roles": []} | form,
            "problem": problem,
            "roles": self._role_names(principal),
            "choices": LANGUAGES,
            "own": user is not None and user.id == principal.id,
            "may_change": self._may(principal, CHANGE_USER),
            "may_agree": self._may(principal, AGREE_RIGHTS),
            "waiting": waiting,
            "change": change,
            "two_people": self._deps.access.role_changes.giving.two_people,
            "reasons": RIGHTS_REASONS,
            "devices_on": self._deps.access.sessions.devices.on,
            "notice": request.query_params.get("notice", ""),
        }
        return self._page(request, principal, "user.html", values, status=422 if problem else 200)

    def _confirm(self, request: Request, principal: Principal, user: AppUser, action: str, problem: str) -> Response:
        values = {"page": "users", "action": action, "name": user.login, "user": user, "session": None}
        values |= {"causes": CAUSES, "problem": problem}
        return self._page(request, principal, "confirm.html", values, status=422 if problem else 200)

    async def _invite(
        self, request: Request, principal: Principal, user: AppUser, *, fresh: bool = False, asked: bool = False
    ) -> Response:
        await self._note(request, principal, CHANGE_USER, "user-invited", 200, target=user.id)
        token, expires = await self._deps.access.users.invite(user, principal.id)
        return self._invited(request, principal, user, token, expires, fresh=fresh, asked=asked)

    def _invited(
        self,
        request: Request,
        principal: Principal,
        user: AppUser,
        token: str,
        expires: Any,
        *,
        fresh: bool = False,
        asked: bool = False,
    ) -> Response:
        """The invitation link, shown this once."""
        policy = self._deps.policy(principal.tenant)
        console = policy.may(principal.tenant, user.roles, Right("console.sign_in").operation)
        base = self._deps.console_url if console else self._deps.crm(principal.tenant).public_url
        values = {
            "page": "users",
            "user": user,
            "link": f"{base.rstrip('/')}{SET_UP_PATH}?token={token}",
            "expires": expires,
            "fresh": fresh,
            "asked": asked,
            "reader": language_of(self._deps.access, request, principal).id,
        }
        return self._page(request, principal, "invited.html", values)


def _profile(form: dict[str, list[str]]) -> Profile:
    return Profile(
        display_name=form["display_name"][0],
        roles=tuple(form["roles"]),
        crm_user=form["crm_user"][0],
        language=form["language"][0],
    )


def _changed(user: AppUser, profile: Profile) -> list[str]:
    """What differs, for the trail; of the display name, which is a person's, only that it does."""
    named = [] if user.display_name == profile.display_name.strip() else ["display_name"]
    before = {"roles": sorted(user.assigned), "crm_user": user.crm_user, "language": user.language}
    after = {"roles": sorted(set(profile.roles)), "crm_user": profile.crm_user.strip(), "language": profile.language}
    return [*named, *difference(before, after)]


def _sees(rule: Any) -> bool:
    return bool(rule.own or rule.other or rule.writable)
