"""The profile of the hosted GraphQL CRM, and requests to it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from policies.graphql.asked import Asked
from policies.profile import Profile, load_profile
from tests.hosted.twenty import PATH, PROFILE

Ask = Callable[..., Asked]


@pytest.fixture(scope="session")
def profile() -> Profile:
    return load_profile(PROFILE)


@pytest.fixture(scope="session")
def ask(profile: Profile) -> Ask:
    def asked(text: str, variables: Any = None, **more: Any) -> Asked:
        body = json.dumps({"query": text, "variables": variables, **more}).encode()
        found = profile.classify("POST", PATH, "", body, "application/json").graphql
        assert found is not None
        return found

    return asked
