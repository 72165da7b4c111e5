"""The source of a profile: its YAML, read and held against the JSON Schema beside the shipped ones."""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from policies.profile import ProfileInvalid

PROFILES = Path(__file__).with_name("profiles")


@lru_cache(maxsize=1)
def _validator() -> Draft202012Validator:
    schema = json.loads((PROFILES / "profile.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema)


def read_source(name_or_path: str | Path) -> dict[str, Any]:
    """The parsed YAML of a shipped profile (by name) or of a file.

    Raises: OSError when it cannot be read, ProfileInvalid when it is not YAML or breaks the schema.
    """
    path = Path(name_or_path)
    if path.suffix not in {".yaml", ".yml"}:
        path = PROFILES / f"{name_or_path}.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        source = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe loader either way
    except yaml.YAMLError as error:
        raise ProfileInvalid([f"the profile is not valid YAML: {getattr(error, 'problem', error)}"]) from error
    return validated(source)


def validated(source: Any) -> dict[str, Any]:
    """A parsed source that keeps to the schema; raises ProfileInvalid."""
    problems = [f"{_place(error.absolute_path)}: {error.message}" for error in _validator().iter_errors(source)]
    if problems:
        raise ProfileInvalid(sorted(problems)[:50])
    return dict(source)


def _place(path: Iterable[Any]) -> str:
    return ".".join(str(step) for step in path) or "top level"
