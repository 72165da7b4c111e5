"""The client of S3, or of what speaks like it, for all that is kept there."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """An access key of S3."""

    key_id: str
    secret: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Server:
    """Which S3. endpoint: "" for AWS; ca: PEM file for a private CA; path_style: the bucket in the path, not the name.

    connect_s, read_s: seconds; attempts: at most, the first one included.
    """

    endpoint: str
    region: str
    ca: Path | None
    connect_s: float
    read_s: float
    attempts: int
    path_style: bool = False


def open_client(server: Server, key: Credentials) -> "S3Client":
    """A client that takes nothing from the environment, the home folder or the machine's metadata service."""
    none = (None, None, None, None)
    session = botocore.session.Session(
        session_vars={
            **dict.fromkeys(("profile", "config_file", "credentials_file", "ca_bundle"), none),
            "ignore_configured_endpoint_urls": (None, None, True, None),
        }
    )
    return boto3.session.Session(
        aws_access_key_id=key.key_id,
        aws_secret_access_key=key.secret,
        aws_session_token=key.token or None,
        botocore_session=session,
        region_name=server.region,
    ).client(
        "s3",
        endpoint_url=server.endpoint or None,
        verify=str(server.ca) if server.ca is not None else True,
        config=Config(
            connect_timeout=server.connect_s,
            read_timeout=server.read_s,
            retries={"mode": "standard", "total_max_attempts": server.attempts},
            proxies={},
            request_checksum_calculation="when_required",  # other makes of S3 know Content-MD5 only
            s3={"addressing_style": "path" if server.path_style else "auto"},
        ),
    )


def code_of(fault: ClientError) -> str:
    """What the server answered, by its code: the text may hold addresses."""
    return str(fault.response.get("Error", {}).get("Code", ""))
