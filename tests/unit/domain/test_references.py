from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from stackledger.domain.errors import LiteralSecret
from stackledger.domain.references import (
    SecretReference,
    is_reference,
    refuse_literal_secrets,
    secret_references,
)
from stackledger.domain.url_passwords import url_passwords, without_url_passwords

PASSWORD = frozenset({"password"})


@pytest.mark.parametrize("text", ["{{aws.key}}", "{{ aws.key }}", "{{my.secret-1.k_2}}", "env:PASSWORD", "env:_a1"])
def test_references_are_known(text: str) -> None:
    assert is_reference(text)
    refuse_literal_secrets({"password": text}, PASSWORD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "{{aws}}",
        "{{aws.}}",
        "{{.key}}",
        "{aws.key}",
        "x{{aws.key}}",
        "{{a.b}}{{c.d}}",
        "env:",
        "env:1A",
        "ENV:A",
    ],
)
def test_nothing_else_is_a_reference(text: str) -> None:
    assert not is_reference(text)
    with pytest.raises(LiteralSecret, match="'password' holds a secret"):
        refuse_literal_secrets({"password": text}, PASSWORD)


@pytest.mark.parametrize("value", [1, True, ["{{a.b}}"], {"x": "{{a.b}}"}])
def test_a_secret_field_holds_a_text(value: JsonValue) -> None:
    with pytest.raises(LiteralSecret):
        refuse_literal_secrets({"password": value}, PASSWORD)


def test_an_optional_secret_may_be_missing() -> None:
    refuse_literal_secrets({"password": None, "path": "/x"}, PASSWORD)


def test_references_are_found_at_any_depth_in_order() -> None:
    value = {"a": "x {{s1.k}} and {{s2.l}}", "b": [{"c": ("{{s1.m}}", 1, None)}]}
    assert list(secret_references(value)) == [
        SecretReference("s1", "k"),
        SecretReference("s2", "l"),
        SecretReference("s1", "m"),
    ]


def test_the_key_is_what_follows_the_last_dot() -> None:
    assert list(secret_references("{{my.secret.key}}")) == [SecretReference("my.secret", "key")]


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://me:hunter2@host/db",
        "amqp://:hunter2@host",
        "see https://me:hunter2@host there",
        ["s3://a", "mysql://u:hunter2@h"],
        {"deep": {"url": "redis://u:hunter2@h"}},
        "a://u:{{s.k}}hunter2@h",
        "https://me:hunter2/q@host",
        "https://me:hunter2?a#b@host",
        "https://me:hunter2@x@host",
        "https://me@corp.com:hunter2@host",
        "https://me:0hunter2@host:8080/",
        "HTTP://[::1]:hunter2@x",
        {"https://me:hunter2@host": 1},
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(value: JsonValue) -> None:
    with pytest.raises(LiteralSecret, match="URL in the field 'url") as raised:
        refuse_literal_secrets({"url": value}, frozenset())
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://me@host/db",
        "https://host:8080/a@b",
        "s3://bucket/path",
        "postgresql://me:{{db.password}}@host",
        "a:b@c",
        "http://[::1]:8080/a@b",
        "https://me@host:8080/a@b",
        "https://host/t=12:30@b",
        "https://u:{{ s.k }}@h,https://v:{{s.l}}@h",
        '{"url":"https://host","port":"https://host:80","mail":"me:x@y"}',
        "https://u:***@h",
        "https://u:@h",
    ],
)
def test_a_url_without_a_password_is_fine(value: str) -> None:
    refuse_literal_secrets({"url": value}, frozenset())


@given(st.text(alphabet=st.sampled_from('ab1:/@?{}. *[]"')).map(lambda text: text.replace("a:", "a://")))
def test_a_text_whose_passwords_are_hidden_has_none_left(text: str) -> None:
    assert not list(url_passwords(without_url_passwords(text)))


def test_only_the_password_of_a_url_is_hidden() -> None:
    text = "from https://me:hun/ter2@host:80/x?y=1 and s3://a to {{s.k}}"
    assert without_url_passwords(text) == "from https://me:***@host:80/x?y=1 and s3://a to {{s.k}}"


@given(
    st.text(
        alphabet=st.characters(exclude_characters="{}. \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85", exclude_categories=["Z"]),
        min_size=1,
    )
)
def test_whatever_a_secret_is_called_its_reference_names_it(name: str) -> None:
    assert list(secret_references(f"{{{{{name}.key}}}}")) == [SecretReference(name, "key")]
