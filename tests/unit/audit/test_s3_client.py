"""The client of S3, against moto's server: it goes where it is told to, whatever stands around it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from audit.s3_client import Credentials, Server, code_of, open_client
from tests.real.s3 import KEY_ID, S3, SECRET, s3

ELSEWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3(tmp_path_factory.mktemp("s3")) as running:
        yield running


def server(address: str, *, path_style: bool) -> Server:
    return Server(address, "us-east-1", None, connect_s=5, read_s=10, attempts=1, path_style=path_style)


@pytest.mark.parametrize("path_style", [True, False])
def test_environment_and_home_folder_send_it_nowhere_else(
    store: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_style: bool
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\nendpoint_url = {ELSEWHERE}\n[profile other]\nregion = nowhere\n")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, ELSEWHERE)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another-key")
    name = f"around-{path_style}".lower()
    client = open_client(server(store.address, path_style=path_style), Credentials(KEY_ID, SECRET))
    try:
        client.create_bucket(Bucket=name)
        assert name in [one["Name"] for one in client.list_buckets()["Buckets"]]
        signed = client.generate_presigned_url("list_buckets")
        assert KEY_ID in signed
        assert "another-key" not in signed
    finally:
        client.close()


def test_what_the_server_answers_is_known_by_its_code(store: S3) -> None:
    client = open_client(server(store.address, path_style=True), Credentials(KEY_ID, SECRET))
    try:
        with pytest.raises(ClientError) as told:
            client.list_objects_v2(Bucket="there-is-none")
    finally:
        client.close()
    assert code_of(told.value) == "NoSuchBucket"
    assert code_of(ClientError({}, "none")) == ""


def test_a_key_is_not_shown() -> None:
    assert SECRET not in repr(Credentials(KEY_ID, SECRET))
