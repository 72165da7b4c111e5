import pytest

from gateway.frame_rule import frame_rule

SELF = "frame-ancestors 'self'"
NONE = "frame-ancestors 'none'"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ([], SELF),
        ([("content-security-policy", "script-src 'self'")], SELF),
        ([("content-security-policy", "script-src 'self'; Frame-Ancestors https://a.example")], None),
        ([("content-security-policy", "img-src 'self', frame-ancestors 'none'")], None),
        ([("content-security-policy", "img-src 'self'"), ("content-security-policy", "frame-ancestors *")], None),
        ([("content-security-policy", "report-uri /frame-ancestors")], SELF),
        ([("content-security-policy-report-only", "frame-ancestors *")], SELF),
        ([("x-frame-options", "DENY")], NONE),
        ([("x-frame-options", " SameOrigin ")], SELF),
        ([("x-frame-options", "SAMEORIGIN, SAMEORIGIN")], SELF),
        ([("x-frame-options", "SAMEORIGIN"), ("x-frame-options", "DENY")], NONE),
        ([("x-frame-options", "SAMEORIGIN, ALLOWALL")], NONE),
        ([("x-frame-options", "ALLOW-FROM https://portal.example:8443/")], f"{SELF} https://portal.example:8443"),
        ([("x-frame-options", "ALLOW-FROM https://a.example; script-src *")], SELF),
        ([("x-frame-options", "ALLOWALL")], SELF),
    ],
)
def test_the_crms_word_is_kept_or_said_in_the_directive_browsers_follow(
    fields: list[tuple[str, str]], rule: str | None
) -> None:
    assert frame_rule(fields) == rule
