"""The command `crmgate`: makes, checks and runs an installation.

Exit codes: 0 done; 1 something is wrong and the text says what; 2 the command line or the settings cannot be used.
What is asked for goes to standard output, everything else to standard error, so that commands can be combined.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.markup import escape

from gateway import check as checks
from gateway import cli_audit, cli_clients, cli_evidence, cli_keys, cli_learn, cli_profile, cli_protect, cli_users
from gateway.accounts import utc_now
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
from gateway.first_steps import Start, guess_profile, write_files
from gateway.opening import open_certificate
from gateway.settings import FILE_NAME, Settings
from gateway.toml_tree import SettingInvalid

app = typer.Typer(
    name="crmgate",
    help="Security and privacy gateway in front of the CRM you already have.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(cli_users.app, name="user")
app.add_typer(cli_clients.app, name="client")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_evidence.app, name="evidence")
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_protect.app, name="protect")
app.add_typer(cli_profile.app, name="profile")
app.add_typer(cli_learn.app, name="learn")

_STYLES = {Weight.FINE: "green", Weight.WARNING: "yellow", Weight.PROBLEM: "red"}


@app.command()
def init(
    upstream: Annotated[str, typer.Option(help="Address of the CRM, for example http://10.0.0.5:8000.")],
    profile: Annotated[str, typer.Option(help="CRM profile; guessed from the CRM's answers when left out.")] = "",
    public_url: Annotated[str, typer.Option(help="The address people will type.")] = "https://crm.localhost:8443",
    console_url: Annotated[str, typer.Option(help="The address of the console.")] = "https://console.localhost:8444",
    config: FileOption = None,
) -> None:
    """Write a commented crmgate.toml, a keyring and a certificate; never overwrites anything."""
    file = (config or Path(FILE_NAME)).absolute()
    with told_plainly():
        chosen = profile or guess_profile(upstream)
        if chosen is None:
            err.print("The CRM does not answer, or it is none that crmgate knows by itself.", style="yellow")
            known = "bottle, creme, djangocrm, tryton, or the path of a profile file"
            raise quit_with(UNUSABLE, f"Say which it is with --profile ({known}).")
        cli_profile.load_profile_plainly(chosen)
        try:
            settings = write_files(file, Start(upstream, chosen, public_url, console_url))
        except FileExistsError as exists:
            raise quit_with(PROBLEM, f"{exists.filename} exists already; nothing was written.") from None
        except SettingInvalid:
            file.unlink()
            raise
        open_certificate(settings, settings.gateway, utc_now())
    out.print(f"Wrote {file} and {settings.state}.", markup=False)
    if not profile:
        out.print(f"The CRM looks like: {chosen}", markup=False)
    out.print(
        f"Keep copies of {settings.keyring_path} and {settings.passphrase_path} in two other places:", markup=False
    )
    out.print("without them nothing stored can ever be read again.")
    out.print("\nNext:\n  crmgate check\n  crmgate user add YOU --role administrator --here\n  crmgate serve")


@app.command()
def check(
    language: Annotated[str, typer.Option(help="en or zh.")] = "en",
    config: FileOption = None,
) -> None:
    """Say in plain words what is wrong with the settings and with what they name.

    Exit code 0: nothing stops crmgate from working; 1: at least one problem; 2: the settings cannot be read.
    """
    if language not in LANGUAGES:
        raise quit_with(UNUSABLE, f"--language is one of: {', '.join(LANGUAGES)}")
    with told_plainly():
        settings = settings_of(config)
        found = asyncio.run(checks.check(settings, utc_now()))
    for finding in found:
        word = WEIGHTS[language][finding.weight]
        style = _STYLES[finding.weight]
        out.print(f"[{style}]{word:<8}[/] [bold]{escape(finding.place)}[/]  {escape(say(finding, language))}")
    if any(finding.weight is Weight.PROBLEM for finding in found):
        raise typer.Exit(PROBLEM)


@app.command()
def serve(config: FileOption = None) -> None:
    """Run the gateway and the console until Ctrl-C."""
    with told_plainly():
        settings = settings_of(config)
        foreign = checks.foreign_packages()
        if foreign:
            raise quit_with(PROBLEM, say(foreign[0], "en"))
        _run_server(settings)


def _run_server(settings: Settings) -> None:
    # The data plane pulls in scanners and parsers that no other command needs; `--help` stays quick without them.
    from gateway.serving import serve as serve_app

    uvloop.run(serve_app(settings))


def main() -> None:
    """Entry point of the installed command."""
    app()


if __name__ == "__main__":
    main()
