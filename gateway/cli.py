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
from rich.tree import Tree

from gateway import check as checks
from gateway import cli_audit, cli_evidence, cli_keys, cli_protect, cli_users
from gateway.accounts import utc_now
from gateway.check_words import LANGUAGES, WEIGHTS, say
from gateway.cli_shell import (
    PROBLEM,
    UNUSABLE,
    FileOption,
    TenantOption,
    err,
    out,
    quit_with,
    settings_of,
    tenant_of,
    told_plainly,
)
from gateway.first_steps import Start, guess_profile, write_files
from gateway.opening import open_certificate
from gateway.settings import FILE_NAME, Settings
from gateway.toml_tree import SettingInvalid
from policies.check import form_in_words
from policies.profile import load_profile

app = typer.Typer(
    name="crmgate",
    help="Security and privacy gateway in front of the CRM you already have.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
profile_app = typer.Typer(help="What crmgate knows about a CRM.", no_args_is_help=True)
app.add_typer(cli_users.app, name="user")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_evidence.app, name="evidence")
app.add_typer(cli_keys.app, name="keys")
app.add_typer(cli_protect.app, name="protect")
app.add_typer(profile_app, name="profile")

_STYLES = {checks.Weight.FINE: "green", checks.Weight.WARNING: "yellow", checks.Weight.PROBLEM: "red"}


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
            raise quit_with(UNUSABLE, "Say which it is with --profile (creme, tryton, or the path of a profile file).")
        load_profile_plainly(chosen)
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


def load_profile_plainly(name: str) -> None:
    """Load a profile or exit with what is wrong."""
    try:
        load_profile(name)
    except OSError:
        raise quit_with(UNUSABLE, f'There is no CRM profile "{name}".') from None


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
    if any(finding.weight is checks.Weight.PROBLEM for finding in found):
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


@profile_app.command("explain")
def profile_explain(
    name: Annotated[
        str, typer.Argument(help="A shipped profile or the path of one; else the one in the settings.")
    ] = "",
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Say what a CRM profile protects, where it looks, and what it knows it cannot do."""
    with told_plainly():
        if not name:
            settings = settings_of(config)
            name = settings.tenants[tenant_of(settings, tenant)].profile
        load_profile_plainly(name)
        profile = load_profile(name)
    tree = Tree(f"[bold]{escape(profile.title)}[/] {escape(profile.version)} ({escape(profile.name)})")
    fields = tree.add("protected fields")
    entities: dict[str, list[str]] = {}
    for spec in profile.field_specs.values():
        kind = "free text" if spec.kind is None else spec.kind.value
        entities.setdefault(spec.entity, []).append(f"{spec.name} ({kind}, {form_in_words(spec)})")
    for entity, lines in sorted(entities.items()):
        branch = fields.add(escape(entity))
        for line in sorted(lines):
            branch.add(escape(line))
    cookies = ", ".join(sorted(profile.session_cookies)) or "none; it uses the Authorization header"
    tree.add(escape(f"session cookies of the CRM: {cookies}"))
    tree.add(escape(f"operations it tells apart: {len(profile.operation_ids)}"))
    limits = tree.add("known limits")
    for sentence in profile.known_limits:
        limits.add(escape(sentence))
    out.print(tree, soft_wrap=False)  # a tree that is wrapped by the terminal alone is cut instead


def main() -> None:
    """Entry point of the installed command."""
    app()


if __name__ == "__main__":
    main()
