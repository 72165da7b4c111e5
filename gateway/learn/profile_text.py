"""A proposed profile as the YAML that `crmgate profile lint` reads."""

from collections.abc import Mapping
from typing import Any

import yaml

from policies.profile import ProfileInvalid
from policies.profile_file import compile_profile
from policies.profile_source import validated


def write_profile(source: Mapping[str, Any], learnt_on: str) -> str:
    """The text of a profile file."""
    head = (
        f"# Learnt by crmgate on {learnt_on} from what passed; confirmed by an administrator.\n"
        "# It is yours now: read it, correct it, and check it with: crmgate profile lint FILE\n"
    )
    body: str = yaml.safe_dump(dict(source), sort_keys=False, allow_unicode=True, width=120)
    return head + body


def problems_of(source: Mapping[str, Any]) -> list[str]:
    """What is wrong with a proposed profile, in plain words; empty when it can be used."""
    try:
        compile_profile(validated(dict(source)))
    except ProfileInvalid as invalid:
        return list(invalid.problems)
    return []
