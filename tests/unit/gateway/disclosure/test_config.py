"""[tenant.NAME.reveal]: off unless switched on; every setting stands in the README as it is."""

import dataclasses
from pathlib import Path

import pytest

from gateway.disclosure.config import RevealSettings, read_reveal
from gateway.toml_tree import SettingInvalid

NAME = "tenant.main.reveal"


def test_revealing_is_off_and_asks_for_a_code_unless_told_otherwise() -> None:
    read = read_reveal({}, NAME, Path())
    assert (read.enabled, read.per_hour, read.step_up, read.shown_s, read.copy) == (False, 20, True, 60, False)


@pytest.mark.parametrize("reasons", [[], ["a", "a"], [" "], ["x" * 121], ["a\nb"]])
def test_reasons_have_to_be_words_and_different(reasons: list[str]) -> None:
    with pytest.raises(SettingInvalid):
        read_reveal({"reasons": reasons}, NAME, Path())


def test_every_setting_is_documented() -> None:
    readme = (Path(__file__).parents[4] / "gateway" / "README.md").read_text(encoding="utf-8")
    part = readme.partition("### [tenant.NAME.reveal]")[2].partition("\n### ")[0]
    for item in dataclasses.fields(RevealSettings):
        assert f"`{item.name}`" in part
        assert item.metadata["help"] in part
