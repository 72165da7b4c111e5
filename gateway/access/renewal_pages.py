"""A new password for an expired one, in the sign-in that needs it: both factors are right, nothing is open yet."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.access.cookies import STEP_COOKIES, read_cookie
from gateway.access.deps import client_of
from gateway.access.events import note
from gateway.access.page import password_limits, read_form, render
from gateway.access.pages import RENEWAL_PATH, SIGN_IN_PATH, SignInPages
from gateway.access.passwords import PasswordRefused
from gateway.access.sign_in import Attempt, HalfOpenExpired


class RenewalPages(SignInPages):
    """The step between the second factor and the session, where the password is too old."""

    async def ask(self, request: Request) -> Response:
        """Ask for the new password."""
        if not read_cookie(request.scope["headers"], STEP_COOKIES[self._deps.audience]):
            return RedirectResponse(SIGN_IN_PATH, 303)
        return self._form(request)

    async def choose(self, request: Request) -> Response:
        """Take it and open the session; every other session of the person ends."""
        deps = self._deps
        form = await read_form(request)
        new = form.get("new", "")
        if new != form.get("again", ""):
            return self._form(request, "not-the-same")
        token = read_cookie(request.scope["headers"], STEP_COOKIES[deps.audience])
        try:
            done = await deps.sign_in.renewal_step(
                deps.tenant_of(request.scope),
                token,
                lambda user, stored: deps.users.accepted(user, new, stored),
                client_of(request.scope),
                audience=deps.audience,
            )
        except HalfOpenExpired:
            return await self._expired(request)
        except PasswordRefused as refused:
            return self._form(request, refused.problem)
        except Attempt as attempt:
            stopped = self._stopped(request, attempt, await self._failed(request, attempt))
            if stopped is None:
                raise attempt.outcome from attempt
            return stopped
        await note(deps, request.scope, "password-changed", 303, user=done.user, path_shape=RENEWAL_PATH)
        return await self._done(request, done)

    def _form(self, request: Request, problem: str = "") -> Response:
        values = {"problem": problem, **password_limits(self._deps)}
        return render(self._deps, request, "renewal.html", values, status=422 if problem else 200)
