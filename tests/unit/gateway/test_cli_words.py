"""`crmgate policy` and `crmgate review` say everything in both languages, with the same values in each."""

import ast
import string
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

import gateway
from gateway.bundles import desk as bundle_desk
from gateway.bundles.bundle import State
from gateway.cli_words import CHINESE, REASONS, say, speak, why
from gateway.reviews import desk as review_desk

FOLDER = Path(gateway.__file__).parent
SPEAKING = ("cli_policy.py", "cli_policy_show.py", "cli_review.py")


def texts(file: Path) -> set[str]:
    """Every text that stands in a module."""
    return {
        node.value
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def names(text: str) -> set[str]:
    """The values that a sentence asks for."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("file", SPEAKING)
def test_whatever_is_printed_has_words(file: str) -> None:
    """A sentence that reaches `print` or an exit past `say` is an f-string or a text of its own."""
    for node in ast.walk(ast.parse((FOLDER / file).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called == "say" and isinstance(node.args[0], ast.Constant):
            assert node.args[0].value in CHINESE
        if called in ("print", "quit_with"):
            literal = [
                part.value
                for argument in node.args
                for part in (argument.values if isinstance(argument, ast.JoinedStr) else [argument])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            said = [text for text in literal if any(word.isalpha() and len(word) > 1 for word in text.split())]
            assert all(text.strip().startswith("crmgate ") for text in said), said


def test_every_sentence_is_said_somewhere_and_names_the_same_values() -> None:
    more = (FOLDER / "cli_shell.py", FOLDER / "cli_destroy.py", FOLDER / "bundles" / "explaining.py")
    said = {text for file in (*(FOLDER / one for one in SPEAKING), *more) for text in texts(file)}
    assert set(CHINESE) - said - set(State) == set()
    assert [english for english, chinese in CHINESE.items() if names(english) != names(chinese)] == []
    assert set(State) <= set(CHINESE)


def test_every_reason_for_not_doing_a_step_has_words() -> None:
    found = set()
    for module in (bundle_desk, review_desk):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("BundleRefused", "ReviewRefused"):
                assert isinstance(node.args[0], ast.Constant)
                found.add(node.args[0].value)
    assert found | {"not-allowed"} == set(REASONS)


@pytest.mark.parametrize(
    ("options", "environment", "told"),
    [
        ([], {"LANG": "C.UTF-8"}, "There is no bundle 7.\nmine"),
        ([], {"LANG": "zh_CN.UTF-8"}, "没有策略包 7。\n该账号没有执行此步骤的权限"),
        (["--language", "zh"], {"LANG": "en_US.UTF-8"}, "没有策略包 7。\n该账号没有执行此步骤的权限"),
        (["--language", "en"], {"LANG": "zh_CN.UTF-8"}, "There is no bundle 7.\nmine"),
    ],
)
def test_the_language_is_the_one_asked_for_or_that_of_the_terminal(
    options: list[str], environment: dict[str, str], told: str
) -> None:
    app = typer.Typer()
    app.callback()(speak)

    @app.command()
    def step() -> None:
        click.echo(say("There is no bundle {number}.", number=7))
        click.echo(why(RuntimeError("mine")))

    answer = CliRunner().invoke(app, [*options, "step"], env=environment)
    assert (answer.exit_code, answer.output) == (0, told + "\n")


def test_outside_a_command_it_is_english() -> None:
    assert say("no role") == "no role"
    assert why(bundle_desk.BundleRefused("four-eyes", "somebody else")) == "somebody else"
