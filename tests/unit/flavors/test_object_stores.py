"""How stores in object storage are configured, and what becomes of the library's exceptions."""

from __future__ import annotations

import builtins

import pytest
from obstore import exceptions

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import ArtifactError, InvalidConfiguration, LiteralSecret
from stackledger.flavors import catalogue
from stackledger.flavors.flavor import Flavor
from stackledger.flavors.object_store_errors import _HINTS, told
from stackledger.flavors.validation import validated


def flavor(name: str) -> type[Flavor]:
    return catalogue.load(catalogue.find(ComponentType.ARTIFACT_STORE, name))


@pytest.mark.parametrize(
    ("name", "path", "kept"),
    [
        ("s3", "s3://bucket", "s3://bucket"),
        ("s3", "s3://my.bucket-1/team/artifacts/", "s3://my.bucket-1/team/artifacts"),
        ("gcs", "gs://bucket/a", "gs://bucket/a"),
        ("azure", "az://container/a", "az://container/a"),
        ("azure", "abfs://container/a", "abfs://container/a"),
    ],
)
def test_a_path_is_a_scheme_a_bucket_and_folders(name: str, path: str, kept: str) -> None:
    assert validated(flavor(name), {"path": path}) == {"path": kept}


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("s3", "gs://bucket/a", r"'gs://bucket/a' does not begin with s3://, as in s3://bucket/prefix"),
        ("gcs", "s3://bucket/a", r"does not begin with gs://"),
        ("azure", "https://account.example.org/c", r"does not begin with az:// or abfs://"),
        ("s3", "/var/artifacts", r"does not begin with s3://"),
        ("s3", "s3://", r"'' is not the name of a bucket"),
        ("s3", "s3://UPPER/x", r"'UPPER' is not the name of a bucket"),
        ("s3", "s3://b", r"'b' is not the name of a bucket"),
        ("s3", "s3://someone@bucket/x", r"is not the name of a bucket"),
        ("s3", "s3://bucket/../x", r"'\.\.' cannot stand in"),
        ("s3", "s3://bucket//x", r"'' cannot stand in"),
        ("s3", "s3://bucket/a b", r"'a b' cannot stand in"),
        ("s3", "s3://bucket/a?b", r"cannot stand in"),
        ("s3", "s3://bucket/a%2e", r"cannot stand in"),
        ("s3", "s3://bucket/\u0430", r"cannot stand in"),
        ("s3", "s3://bucket/a\x1b[2J", r"cannot stand in"),
        ("s3", "s3://bucket/" + "/".join(["a" * 100] * 6), r"more than 512 characters"),
        ("s3", "s3://{{a.b}}/x", r"cannot stand here"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(name: str, path: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=message):
        validated(flavor(name), {"path": path})


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://host", r"is not encrypted: use https://, or allow it with --allow_http=true"),
        ("ftp://host", r"is not an address"),
        ("host:9000", r"is not an address"),
        ("https://", r"is not an address"),
        ("https://user@host", r"is not an address"),
        ("https://host:99999", r"Port out of range"),
        ("https://host/?x=1", r"more than a scheme, a host, a port and a path"),
    ],
)
def test_an_endpoint_that_cannot_be_meant_is_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=message):
        validated(flavor("s3"), {"path": "s3://bucket", "endpoint_url": url})


def test_an_endpoint_may_be_a_reference_and_plain_http_where_it_is_allowed() -> None:
    given = {"path": "s3://bucket", "endpoint_url": "env:MY_S3"}
    assert validated(flavor("s3"), given) == given
    plain = {"path": "s3://bucket", "allow_http": "true", "endpoint_url": "http://host:9000/"}
    assert validated(flavor("s3"), plain)["endpoint_url"] == "http://host:9000"


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("s3", {"key": "env:K"}, r"'key' and 'secret' are given together or not at all"),
        ("s3", {"token": "env:T"}, r"'token' belongs to a 'key' and a 'secret'"),
        ("gcs", {"token": "env:T", "service_account_key": "env:K"}, r"one is enough"),
        ("azure", {"account_key": "env:K", "sas_token": "env:T"}, r"one is enough"),
        ("azure", {"client_id": "me"}, r"'tenant_id', 'client_id' and 'client_secret' are given together"),
    ],
)
def test_credentials_are_whole(name: str, given: dict[str, str], message: str) -> None:
    scheme = {"s3": "s3", "gcs": "gs", "azure": "az"}[name]
    with pytest.raises(InvalidConfiguration, match=message):
        validated(flavor(name), {"path": f"{scheme}://bucket", **given})


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("s3", "key"),
        ("s3", "secret"),
        ("s3", "token"),
        ("gcs", "service_account_key"),
        ("gcs", "token"),
        ("azure", "account_key"),
        ("azure", "sas_token"),
        ("azure", "client_secret"),
    ],
)
def test_a_credential_is_given_by_reference_alone(name: str, field: str) -> None:
    scheme = {"s3": "s3", "gcs": "gs", "azure": "az"}[name]
    with pytest.raises(LiteralSecret):
        validated(flavor(name), {"path": f"{scheme}://bucket", field: "in-clear"})


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        (None, False),
        ("https://objects.example.org", False),
        ("https://10.0.0.1:9000", False),
        ("https://127.0.0.1:9000", True),
        ("https://[::1]:9000", True),
        ("https://localhost:9000", True),
    ],
)
def test_a_store_is_local_where_only_this_machine_reaches_it(endpoint: str | None, *, local: bool) -> None:
    s3 = flavor("s3")
    config = s3.config_class.model_validate({"path": "s3://bucket", "endpoint_url": endpoint})
    assert s3.is_local(config) is local


def test_a_folder_is_local_to_its_machine() -> None:
    local = flavor("local")
    assert local.is_local(local.config_class())


EXCEPTIONS = [
    *(kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    builtins.FileNotFoundError,  # what is raised for a missing object
]


@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: kind.__name__)
def test_every_exception_of_the_library_becomes_ours_and_has_a_way_out_of_its_own(kind: type[Exception]) -> None:
    assert kind in _HINTS
    with (
        pytest.raises(ArtifactError, match=r"The store cannot do it: broken\. \w+") as refused,
        told("The store", "do it"),
    ):
        raise kind("broken")
    assert isinstance(refused.value.__cause__, kind)


def test_there_are_exceptions_to_walk() -> None:
    assert len(EXCEPTIONS) > 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "x - status code: 403 Forbidden: <Code>InvalidAccessKeyId</Code><Message>No such key.</Message>AKIA123",
            "No such key. (InvalidAccessKeyId)",
        ),
        ("Generic error: https://h/c?sig=hunter2&x=1 went wrong\n\nDebug source: hunter2", "https://h/c went wrong"),
        ("Error performing GET https://h/c?sig=hunter2 - status code: 503 Service Unavailable: ", "it answered 503"),
        ('x https://h/?sig=hunter2\nkind: Connect, message: "Connection refused"', "reached (Connection refused)"),
        ("x https://h/?sig=hunter2\nkind: Timeout, source: hunter2", "it gave no answer in time"),
        (
            "Generic S3 error: PUT https://h/?sig=hunter2 in 1ms - HTTP error: builder error",
            ": HTTP error: builder error. ",
        ),
        ("PUT https://h/?sig=hunter2 - redirect: incorrectly configured region", "region. Give the `region`"),
        ("<Code>A</Code><Message>\x1b[2J</Message>", "(A)"),
    ],
)
def test_a_servers_own_words_are_said_and_no_signature(text: str, said: str) -> None:
    with pytest.raises(ArtifactError) as refused, told("The store", "do it"):
        raise exceptions.GenericError(text)
    message = str(refused.value)
    assert said in message
    assert "hunter2" not in message
    assert "AKIA123" not in message
    assert message.isprintable()
