"""Which requests may change something."""

import pytest

from gateway.console.guard import CrossSiteRefused, check_same_origin

HOST = {"host": "console.example"}
OWN = "https://console.example"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}),
        ("POST", "/x", {"sec-fetch-site": "same-origin", "origin": OWN}),
        ("POST", "/x", {"sec-fetch-site": "same-origin"}),
        ("POST", "/x", {"origin": OWN}),
        ("POST", "/x", {"origin": OWN.upper()}),
        ("POST", "/.crmgate/api/sign-in", {}),
    ],
)
def test_our_own_pages_and_programs_may(method, path, headers) -> None:
    check_same_origin(method, path, HOST | headers)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/x", {}),
        ("/x", {"sec-fetch-site": "cross-site"}),
        ("/x", {"sec-fetch-site": "same-site", "origin": OWN}),
        ("/x", {"sec-fetch-site": "SAME-ORIGIN, cross-site", "origin": OWN}),
        ("/x", {"sec-fetch-site": "same-origin", "origin": "https://evil.example"}),
        ("/x", {"origin": "null"}),
        ("/x", {"origin": "https://console.example:444"}),
        ("/x", {"origin": "https://console.example@evil.example"}),
        ("/x", {"origin": "file://console.example"}),
        ("/x", {"origin": OWN, "host": ""}),
        ("/.crmgate/api/sign-in", {"origin": "https://evil.example"}),
        ("/.crmgate/api/sign-in", {"sec-fetch-site": "cross-site"}),
    ],
)
def test_everything_else_may_not(path, headers) -> None:
    with pytest.raises(CrossSiteRefused):
        check_same_origin("POST", path, HOST | headers)
