"""Servers of object storage for the tests, each private and on a free port, and ended with this process.

S3: that of `STACKLEDGER_TEST_S3` (`http://KEY:SECRET@HOST:PORT`), else moto's server. Azure Blob Storage: that of
`STACKLEDGER_TEST_AZURE` (`http://ACCOUNT:KEY@HOST:PORT/ACCOUNT`, the key percent-encoded), else Azurite as `make test`
installs it, else one in a container. Google Cloud Storage: nothing that installs speaks the interface that obstore
uses, so it is `gcs_fake`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from tempfile import mkdtemp
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from tests.support.gcs_fake import fake_gcs
from tests.support.services import docker_answers, end_with_parent, free_port, missing

BUCKET = "stackledger-tests"
_SERVICES = Path(os.environ.get("STACKLEDGER_TEST_SERVICES") or Path(__file__).parents[2] / ".services")
_AZURITE_ACCOUNT = "devstoreaccount1"
# Azurite has but this one, and everybody knows it.
_AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class ObjectServer(NamedTuple):
    """A server with the bucket `BUCKET`, and what a component of the flavor has to be configured with to use it."""

    flavor: str
    scheme: str
    url: str
    credentials: dict[str, str]

    def configuration(self, *, bucket: str = BUCKET, url: str | None = None, **other: str) -> dict[str, str]:
        """Return the configuration of a store that nobody has used, with credentials in clear."""
        return {
            "path": f"{self.scheme}://{bucket}/{uuid4().hex}/artifacts",
            "endpoint_url": url or self.url,
            "allow_http": "true",
            **self.credentials,
            **other,
        }


@contextmanager
def s3_server() -> Iterator[ObjectServer]:
    given = os.environ.get("STACKLEDGER_TEST_S3")
    if given:
        parts = urlsplit(given)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        yield _with_s3_bucket(url, unquote(parts.username or ""), unquote(parts.password or ""))
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _started([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], url):
        yield _with_s3_bucket(url, "a-key", "a-secret-that-nobody-checks")


@contextmanager
def azure_server() -> Iterator[ObjectServer]:
    given = os.environ.get("STACKLEDGER_TEST_AZURE")
    program = _SERVICES / "node_modules" / ".bin" / "azurite-blob"
    if given:
        parts = urlsplit(given)
        url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        yield _with_azure_container(url, unquote(parts.username or ""), unquote(parts.password or ""))
    elif program.exists():
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        folder = Path(mkdtemp(prefix="stackledger-azurite-"))
        options = ("--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", str(folder))
        try:
            with _started([str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port), *options], url):
                yield _with_azure_container(f"{url}/{_AZURITE_ACCOUNT}", _AZURITE_ACCOUNT, _AZURITE_KEY)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    elif docker_answers():
        from testcontainers.core.container import DockerContainer

        command = "azurite-blob --blobHost 0.0.0.0 --skipApiVersionCheck"
        image = DockerContainer("mcr.microsoft.com/azure-storage/azurite:3.35.0").with_command(command)
        with image.with_exposed_ports(10000) as container:
            url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(10000)}"
            _wait_for(url, lambda: True, lambda: "the container does not answer")
            yield _with_azure_container(f"{url}/{_AZURITE_ACCOUNT}", _AZURITE_ACCOUNT, _AZURITE_KEY)
    else:
        missing("Azurite", "it is not installed (npm installs it for `make test`).")


@contextmanager
def gcs_server() -> Iterator[ObjectServer]:
    with fake_gcs([BUCKET], token="a-token-of-somebody") as url:
        yield ObjectServer("gcs", "gs", url, {"token": "a-token-of-somebody"})


@contextmanager
def _started(command: list[str], url: str) -> Iterator[None]:
    log = Path(mkdtemp(prefix="stackledger-server-")) / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, preexec_fn=end_with_parent)  # noqa: PLW1509 - it makes one system call
    try:
        _wait_for(url, lambda: process.poll() is None, lambda: log.read_text(encoding="utf-8"))
        yield
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(log.parent, ignore_errors=True)


def _wait_for(url: str, alive: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + 120
    while not _answers(url):
        if not alive() or time.monotonic() > deadline:
            raise RuntimeError(why())
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - it is our own
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def _with_s3_bucket(url: str, key: str, secret: str) -> ObjectServer:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("PUT", f"{url}/{BUCKET}", headers={"x-amz-content-sha256": hashlib.sha256(b"").hexdigest()})
    SigV4Auth(Credentials(key, secret), "s3", "us-east-1").add_auth(request)
    _make(f"{url}/{BUCKET}", dict(request.headers.items()))
    return ObjectServer("s3", "s3", url, {"key": key, "secret": secret, "region": "us-east-1"})


def _with_azure_container(url: str, account: str, key: str) -> ObjectServer:
    date, version = formatdate(usegmt=True), "2023-11-03"
    resource = f"/{account}{urlsplit(url).path}/{BUCKET}\nrestype:container"
    signed = "\n".join(["PUT", *[""] * 11, f"x-ms-date:{date}", f"x-ms-version:{version}", resource])
    digest = hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {account}:{base64.b64encode(digest).decode()}",
    }
    _make(f"{url}/{quote(BUCKET)}?restype=container", headers)
    return ObjectServer("azure", "az", url, {"account_name": account, "account_key": key})


def _make(url: str, headers: dict[str, str]) -> None:
    request = urllib.request.Request(url, method="PUT", headers=headers)  # noqa: S310 - it is our own
    try:
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - it is our own
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != HTTPStatus.CONFLICT:  # it is there already
            raise
