"""`crmgate profile`: what a profile protects, what is wrong with it, what it makes of a request or of recorded ones."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

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
from gateway.settings import find_file
from policies.case import cases_path, differences, read_cases
from policies.check import Explanation, LeafExplained, check_profile, explain, form_in_words
from policies.enforcer import DEFAULT_POLICY, Bundle, Enforcer
from policies.profile import Profile, ProfileInvalid, load_profile
from policies.rows import PolicyInvalid

app = typer.Typer(help="What crmgate knows about a CRM.", no_args_is_help=True)

NameArgument = Annotated[
    str, typer.Argument(help="A shipped profile or the path of one; else the one in the settings.")
]
TypeOption = Annotated[
    list[str] | None,
    typer.Option("--type", help="A record type of this installation, as NUMBER=ENTITY; may be given several times."),
]
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BODY_BYTES = 8 * 1024 * 1024
_DONE = {
    "field": "replaced, all of it",
    "text": "its personal parts are replaced",
    "whole": "replaced if all of it is a recognised value",
}


def load_profile_plainly(name: str) -> Profile:
    """Load a profile or exit with what is wrong."""
    try:
        return load_profile(name)
    except (OSError, UnicodeDecodeError):
        raise quit_with(UNUSABLE, f'There is no CRM profile "{name}".') from None


@app.command("explain")
def explain_profile(
    name: NameArgument = "",
    asked: Annotated[
        str, typer.Argument(metavar="[REQUEST]", help='A request, such as "POST /persons/contact/add".')
    ] = "",
    body: Annotated[Path | None, typer.Option(help="File with the body of the request; - for standard input.")] = None,
    content_type: Annotated[
        str, typer.Option(help="What the body is; a form or JSON, by its first sign, when left out.")
    ] = "",
    role: Annotated[
        list[str] | None, typer.Option(help="Role of the person who asks; may be given several times.")
    ] = None,
    types: TypeOption = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Say what a CRM profile protects and cannot do; of one request, what the gateway would do with it and why."""
    with told_plainly():
        profile = _profile(name, tenant, config)
        if not asked:
            _print_profile(profile)
            return
        method, _, target = asked.strip().partition(" ")
        if method.upper() not in METHODS or not target.strip().startswith("/"):
            raise quit_with(UNUSABLE, 'Write the request as a method and a path: "POST /persons/contact/add".')
        content = _content(body)
        kind = content_type or (
            "application/json" if content[:1] in (b"{", b"[") else "application/x-www-form-urlencoded"
        )
        told = explain(
            profile.with_facts(_types(types, profile)),
            method,
            target.strip(),
            content,
            kind,
            bundle=_bundle(profile, tenant, config) if role else None,
            tenant=tenant or "main",
            roles=role or (),
        )
    _print_request(told)


@app.command("lint")
def lint(name: NameArgument = "", tenant: TenantOption = "", config: FileOption = None) -> None:
    """Say what is wrong or doubtful with a profile. Exit code 0: nothing; 1: something; 2: there is no such profile."""
    with told_plainly():
        chosen = _name(name, tenant, config)
        try:
            profile = load_profile_plainly(chosen)
        except ProfileInvalid as invalid:
            for problem in invalid.problems:
                out.print(f"[red]wrong[/]     {escape(problem)}")
            raise typer.Exit(PROBLEM) from None
    doubts = check_profile(profile)
    for doubt in doubts:
        out.print(f"[yellow]doubtful[/]  {escape(doubt)}")
    if doubts:
        raise typer.Exit(PROBLEM)
    counts = f"{len(profile.field_specs)} fields, {len(profile.operation_ids)} operations"
    out.print(f"[green]fine[/]      {escape(profile.title)} {escape(profile.version)}: {counts}")


@app.command("test")
def run_cases(
    name: NameArgument = "",
    cases: Annotated[Path | None, typer.Option(help="File of cases; else NAME.cases.yaml beside the profile.")] = None,
    tenant: TenantOption = "",
    config: FileOption = None,
) -> None:
    """Run recorded requests against a profile. Exit code 0: all are understood as expected; 1: not all; 2: none."""
    with told_plainly():
        chosen = _name(name, tenant, config)
        profile = load_profile_plainly(chosen)
        path = cases or cases_path(chosen)
        try:
            file = read_cases(path)
        except OSError:
            raise quit_with(
                UNUSABLE, f"There is no file of cases {path}. policies/README.md says how to write one."
            ) from None
    profile = profile.with_facts(file.types)
    failed = 0
    for case in file.cases:
        found = differences(profile, case)
        failed += bool(found)
        if found:
            out.print(f"[red]differs[/]  {escape(case.name)}")
            for line in found:
                out.print(f"           {escape(line)}")
    whole = len(file.cases)
    out.print(f"{whole - failed} of {whole} requests are understood as expected.")
    if failed:
        raise typer.Exit(PROBLEM)


def _name(name: str, tenant: str, config: Path | None) -> str:
    if name:
        return name
    settings = settings_of(config)
    return settings.tenants[tenant_of(settings, tenant)].profile


def _profile(name: str, tenant: str, config: Path | None) -> Profile:
    return load_profile_plainly(_name(name, tenant, config))


def _content(body: Path | None) -> bytes:
    if body is None:
        return b""
    try:
        with typer.get_binary_stream("stdin") if str(body) == "-" else body.open("rb") as file:
            content = file.read(BODY_BYTES + 1)
    except OSError as fault:
        raise quit_with(UNUSABLE, f"{body} cannot be read: {fault.strerror}.") from None
    if len(content) > BODY_BYTES:
        raise quit_with(UNUSABLE, "The body is longer than 8 MB, which the gateway would refuse.")
    return content


def _types(given: list[str] | None, profile: Profile) -> dict[str, str]:
    types: dict[str, str] = {}
    for one in given or ():
        number, mark, entity = one.partition("=")
        if not mark or not (number.isascii() and number.isdecimal()) or entity not in profile.type_entities:
            known = ", ".join(sorted(profile.type_entities)) or "none: this profile has no record types"
            raise quit_with(UNUSABLE, f"--type is NUMBER=ENTITY, with an entity of: {known}")
        types[number] = entity
    return types


def _bundle(profile: Profile, tenant: str, config: Path | None) -> Bundle:
    """The policy of the settings where there are any, else the shipped one."""
    policy = DEFAULT_POLICY
    if find_file(config).exists():
        settings = settings_of(config)
        if tenant or len(settings.tenants) == 1:
            policy = settings.tenants[tenant_of(settings, tenant)].policy or DEFAULT_POLICY
    try:
        return Enforcer(profile.field_specs, profile.operation_ids).load(policy)
    except PolicyInvalid as invalid:
        raise quit_with(PROBLEM, f"The policy cannot be used: {'; '.join(invalid.problems)}") from None


def _print_profile(profile: Profile) -> None:
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


def _print_request(told: Explanation) -> None:
    out.print(f"[bold]{escape(told.operation)}[/]: {escape(told.action)} of {escape(told.entity)}")
    if told.record:
        out.print(f"record {escape(told.record)}")
    out.print(escape(told.outcome))
    for note in told.notes:
        out.print(f"- {escape(note)}")
    _print_leaves("body", "what is done", told.leaves)
    _print_leaves("searched for", "operator", told.searches)
    if not told.leaves and not told.searches:
        err.print("Nothing in this request is looked at.", style="dim")


def _print_leaves(title: str, what: str, leaves: tuple[LeafExplained, ...]) -> None:
    if not leaves:
        return
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for heading in ("where", what, "field", "kind"):
        table.add_column(heading)
    for leaf in leaves:
        done = _DONE.get(leaf.treatment, leaf.treatment)
        table.add_row(*map(escape, (leaf.path, done, leaf.field, leaf.kind)))
    out.print(table)
