"""The command `crmgate`: makes, checks and runs an installation.

Exit codes: 0 done; 1 something is wrong and the text says what; 2 the command line or the settings cannot be used.
What is asked for goes to standard output, everything else to standard error, so that commands can be combined.
"""

import asyncio
import importlib
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer
from rich.markup import escape

from gateway.check_words import LANGUAGES, WEIGHTS, say
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    err,
    out,
    quit_with,
    settings_of,
    told_plainly,
)
from gateway.finding import Weight
from gateway.settings import FILE_NAME, Settings
from gateway.toml_tree import SettingInvalid

GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "user": "gateway.cli_users",
        "rights": "gateway.cli_rights",
        "break-glass": "gateway.cli_emergency",
        "client": "gateway.cli_clients",
        "audit": "gateway.cli_audit",
        "evidence": "gateway.cli_evidence",
        "keys": "gateway.cli_keys",
        "protect": "gateway.cli_protect",
        "profile": "gateway.cli_profile",
        "policy": "gateway.cli_policy",
        "review": "gateway.cli_review",
        "learn": "gateway.cli_learn",
    }
)
"""Modules of the groups of commands. A command loads its own only: all of them together take a second to load."""

_STYLES = {Weight.FINE: "green", Weight.WARNING: "yellow", Weight.PROBLEM: "red"}


def init(
    upstream: Annotated[str, typer.Option(help="Address of the CRM, for example http://10.0.0.5:8000.")],
    profile: Annotated[str, typer.Option(help="CRM profile; guessed from the CRM's answers when left out.")] = "",
    public_url: Annotated[str, typer.Option(help="The address people will type.")] = "https://crm.localhost:8443",
    console_url: Annotated[str, typer.Option(help="The address of the console.")] = "https://console.localhost:8444",
    config: FileOption = None,
) -> None:
    """Write a commented crmgate.toml, a keyring and a certificate; never overwrites anything."""
    from gateway.cli_profile import load_profile_plainly
    from gateway.first_steps import Start, guess_profile, write_files
    from gateway.opening import open_certificate

    file = (config or Path(FILE_NAME)).absolute()
    with told_plainly():
        chosen = profile or guess_profile(upstream)
        if chosen is None:
            err.print("The CRM does not answer, or it is none that crmgate knows by itself.", style="yellow")
            known = "bottle, creme, djangocrm, tryton, or the path of a profile file"
            raise quit_with(UNUSABLE, f"Say which it is with --profile ({known}).")
        load_profile_plainly(chosen)
        try:
            settings = write_files(file, Start(upstream, chosen, public_url, console_url))
        except FileExistsError as exists:
            raise quit_with(PROBLEM, f"{exists.filename} exists already; nothing was written.") from None
        except SettingInvalid:
            file.unlink()
            raise
        open_certificate(settings, settings.gateway, datetime.now(UTC))
    out.print(f"Wrote {file} and {settings.state}.", markup=False)
    if not profile:
        out.print(f"The CRM looks like: {chosen}", markup=False)
    out.print(
        f"Keep copies of {settings.keyring_path} and {settings.passphrase_path} in two other places:", markup=False
    )
    out.print("without them nothing stored can ever be read again.")
    out.print("\nNext:\n  crmgate check\n  crmgate user add YOU --role administrator --here\n  crmgate serve")


def check(
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
    config: FileOption = None,
) -> None:
    """Say in plain words what is wrong with the settings and with what they name.

    Exit code 0: nothing stops crmgate from working; 1: at least one problem; 2: the settings cannot be read.
    """
    from gateway.check import check as check_settings

    if language not in LANGUAGES:
        raise quit_with(UNUSABLE, f"--language is one of: {', '.join(LANGUAGES)}")
    with told_plainly():
        settings = settings_of(config)
        found = asyncio.run(check_settings(settings, datetime.now(UTC)))
    for finding in found:
        word = WEIGHTS[language][finding.weight]
        style = _STYLES[finding.weight]
        out.print(f"[{style}]{word:<8}[/] [bold]{escape(finding.place)}[/]  {escape(say(finding, language))}")
    if any(finding.weight is Weight.PROBLEM for finding in found):
        raise typer.Exit(PROBLEM)


def serve(config: FileOption = None) -> None:
    """Run the gateway and the console until Ctrl-C."""
    from gateway.check import foreign_packages

    with told_plainly():
        settings = settings_of(config)
        foreign = foreign_packages()
        if foreign:
            raise quit_with(PROBLEM, say(foreign[0], "en"))
        _run_server(settings)


def _run_server(settings: Settings) -> None:
    import uvloop

    from gateway.serving import serve as serve_app

    uvloop.run(serve_app(settings))


def command_line(groups: Iterable[str] = tuple(GROUPS)) -> typer.Typer:
    """The commands with these groups of `GROUPS`; all of them when nothing is said."""
    app = typer.Typer(
        name="crmgate",
        help="Security and privacy gateway in front of the CRM you already have.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for command in (init, check, serve):
        app.command()(command)
    for name in groups:
        app.add_typer(importlib.import_module(GROUPS[name]).app, name=name)
    return app


def main() -> None:
    """Entry point of the installed command."""
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first in GROUPS:
        command_line([first])()
    elif first in ("init", "check", "serve"):
        command_line([])()
    else:
        command_line()()


if __name__ == "__main__":
    main()
