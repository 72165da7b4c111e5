"""What a command works on: the settings, the CRM that is meant, and the database, open until the command ends."""

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from gateway.cli_shell import settings_of, tenant_of, told_plainly
from gateway.opening import open_database
from gateway.settings import Settings


class Installed:
    """One installation as a command sees it; whoever asks for `dsn` opens the database."""

    def __init__(self, settings: Settings, tenant: str, stack: contextlib.ExitStack) -> None:
        self.settings, self.tenant, self._stack = settings, tenant, stack

    @cached_property
    def dsn(self) -> str:
        """Connection string of the database, opened when it is first asked for. Blocks. Raises as `open_database`."""
        return self._stack.enter_context(contextlib.closing(open_database(self.settings))).dsn


@contextlib.contextmanager
def installed(config: Path | None, tenant: str) -> Iterator[Installed]:
    """What the options of a command name; what fails meanwhile is told plainly, then the database is let go."""
    with told_plainly():
        settings = settings_of(config)
        name = tenant_of(settings, tenant)
        with contextlib.ExitStack() as stack:
            yield Installed(settings, name, stack)
