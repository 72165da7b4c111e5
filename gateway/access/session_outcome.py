"""Why a cookie token opens nothing: what its person has to do first."""

from gateway.access.device import Lack
from gateway.exchange import Principal


class NoSession(Exception):  # noqa: N818 - an outcome, not a fault
    """No cookie, an unknown token, or a session that was ended: sign in."""

    permanent = True


class SessionExpired(Exception):  # noqa: N818
    """The session ran into its idle or absolute timeout: sign in again. `by` is `idle` or `absolute`."""

    permanent = True

    def __init__(self, by: str) -> None:
        super().__init__(by)
        self.by = by


class SessionLocked(Exception):  # noqa: N818
    """The session is locked: it opens nothing until its person proves a factor."""

    permanent = True

    def __init__(self, principal: Principal) -> None:
        super().__init__("locked")
        self.principal = principal


class DeviceNeeded(Exception):  # noqa: N818
    """The session opens nothing before its device has proved itself; `lack` says what is missing."""

    permanent = True

    def __init__(self, principal: Principal, lack: Lack) -> None:
        super().__init__(lack.value)
        self.principal = principal
        self.lack = lack
