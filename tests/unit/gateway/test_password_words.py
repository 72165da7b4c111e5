"""The words of an installation are known, and a password that is little else is refused."""

from pathlib import Path

import pytest

from gateway.access.passwords import PasswordRefused, check_new_password
from gateway.password_words import breach_file_of, context_of
from gateway.settings_file import build_settings

TENANT = {"upstream": "http://127.0.0.1:1", "public_url": "https://crm.bluewhale.example", "profile": "creme"}


def test_product_tenant_hosts_and_crm_are_context() -> None:
    settings = build_settings({"tenant": {"harbour": TENANT}}, Path("/x/crmgate.toml"))
    words = context_of(settings)
    assert {"crmgate", "harbour", "crm.bluewhale.example", "creme", "console.localhost"} <= set(words)
    for password in ("bluewhaleharbour1", "Creme-crmgate-26", "harbourharbour!9"):
        with pytest.raises(PasswordRefused) as refused:
            check_new_password(password, words)
        assert refused.value.problem == "too-close"
    assert breach_file_of(settings) is None


def test_the_file_of_breached_passwords_counts_from_the_folder_of_the_settings() -> None:
    raw = {"tenant": {"harbour": TENANT}, "access": {"breached_passwords": "b.txt"}}
    settings = build_settings(raw, Path("/x/crmgate.toml"))
    assert settings.access.breached_passwords == Path("/x/b.txt")
    assert breach_file_of(settings) is not None
