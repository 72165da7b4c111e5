"""What all commands share: the two output streams, the settings option, faults told as one plain sentence."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from audit.log import AuditUnavailable
from audit.note import KeyFileInvalid
from gateway.cli_words import say
from gateway.database import DatabaseUnavailable, EmbeddedServerFault
from gateway.job import JobUnknown, WorkflowsUnavailable
from gateway.settings import Settings, find_file
from gateway.settings_file import read_settings
from gateway.toml_tree import SettingInvalid
from kms.provider import KeysUnavailable
from kms.store import StoreUnavailable
from policies.profile import ProfileInvalid
from policies.rows import PolicyInvalid

PROBLEM, UNUSABLE = 1, 2

FileOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file; else $CRMGATE_CONFIG, else ./crmgate.toml.")
]
TenantOption = Annotated[
    str, typer.Option("--tenant", help="Name of the CRM in the settings; needed when there are several.")
]

# No emoji: a tag such as audit:key:made is no picture.
out = Console(highlight=False, soft_wrap=True, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def quit_with(code: int, sentence: str) -> typer.Exit:
    """An exit with a sentence on standard error; raise it."""
    err.print(sentence, style="red" if code else "", markup=False)
    return typer.Exit(code)


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Faults that an operator can act on become a sentence and an exit code; anything else is a fault of ours."""
    try:
        yield
    except SettingInvalid as fault:
        raise quit_with(UNUSABLE, str(fault)) from None
    except (KeysUnavailable, EmbeddedServerFault, ProfileInvalid, KeyFileInvalid, WorkflowsUnavailable) as fault:
        raise quit_with(PROBLEM, str(fault)) from None
    except (DatabaseUnavailable, StoreUnavailable, AuditUnavailable, psycopg.OperationalError):
        raise quit_with(PROBLEM, "The database does not answer. Look at it with: crmgate check") from None
    except PolicyInvalid as fault:
        raise quit_with(
            PROBLEM, say("The policy cannot be used: {problems}", problems="; ".join(fault.problems))
        ) from None
    except JobUnknown as fault:
        raise quit_with(PROBLEM, f"There is no job {fault}, or it has ended.") from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def settings_of(file: Path | None) -> Settings:
    """The settings, or an exit that names what is wrong in them."""
    found = find_file(file)
    if file is None and not found.exists():
        raise quit_with(UNUSABLE, f"There is no {found}. Make one with: crmgate init --upstream http://your-crm:port")
    return read_settings(found)


def tenant_of(settings: Settings, tenant: str) -> str:
    """The tenant meant: the one named, or the only one."""
    if not tenant and len(settings.tenants) == 1:
        return next(iter(settings.tenants))
    if tenant not in settings.tenants:
        names = ", ".join(sorted(settings.tenants))
        raise quit_with(UNUSABLE, f"Say which CRM with --tenant; the settings have: {names}")
    return tenant


def interactive() -> bool:
    """Whether somebody sits at the other end."""
    return sys.stdin.isatty() and sys.stdout.isatty()
