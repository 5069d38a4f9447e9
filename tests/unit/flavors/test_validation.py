"""A configuration is checked and made uniform by its flavor before the log keeps it."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    HttpUrl,
    JsonValue,
    SecretStr,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from stackledger.domain.component_types import ComponentType
from stackledger.domain.errors import (
    ArtifactError,
    FlavorError,
    InvalidConfiguration,
    InvalidValue,
    LiteralSecret,
    NotFound,
    SecretError,
)
from stackledger.flavors import catalogue
from stackledger.flavors.flavor import Flavor, FlavorConfig, clear_text_field, secret_field
from stackledger.flavors.resolving import Redactor
from stackledger.flavors.validation import FieldDescription, configured, describe_fields, prepare, validated

CANARY = "canary-3f9a"


class Speed(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


class Limits(BaseModel):
    memory: int


def _shouting(value: str) -> str:
    if value != value.upper():
        raise ValueError(f"{value!r} is not in capitals")
    return value


class ShelfConfig(FlavorConfig):
    bucket: str = clear_text_field(description="where objects go")
    token: str = secret_field(description="who asks")
    url: HttpUrl | None = Field(default=None, description="address of the server")
    word: Annotated[str, AfterValidator(_shouting)] = "WORD"
    region: str = "here"
    slots: int = 4
    ratio: float = 0.5
    verify: bool = True
    speed: Speed = Speed.FAST
    mode: Literal["a", "b"] = "a"
    hosts: list[str] = Field(default_factory=list)
    ports: dict[str, int] = Field(default_factory=dict)
    limits: Limits | None = None
    mixed: str | list[int] | None = None
    anything: JsonValue = None

    @field_validator("region")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in {"here", "there"}:
            raise ValueError(f"{value!r} is not a region")
        return value


class Shelf(Flavor):
    """puts things on a shelf"""

    name = "shelf"
    type = ComponentType.ARTIFACT_STORE
    config_class = ShelfConfig
    implementation = "shelf:Store"
    prepared: ClassVar[list[tuple[FlavorConfig, Path, str]]] = []

    @classmethod
    def prepare(cls, config: FlavorConfig, home: Path, component_id: str) -> None:
        cls.prepared.append((config, home, component_id))


NEEDED = {"bucket": "b", "token": "{{shelf.token}}"}


def of_flavor(component_type: ComponentType, name: str) -> type[Flavor]:
    return catalogue.load(catalogue.find(component_type, name))


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def check(**given: object) -> dict[str, JsonValue]:
    result = validated(Shelf, {**given, **NEEDED})
    return {name: value for name, value in result.items() if name not in NEEDED}


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("slots", "7", 7),
        ("ratio", "0.25", 0.25),
        ("verify", "false", False),
        ("speed", "slow", "slow"),
        ("hosts", '["a", "b"]', ["a", "b"]),
        ("ports", '{"http": "80"}', {"http": 80}),
        ("limits", '{"memory": 5}', {"memory": 5}),
        ("mixed", "[1, 2]", [1, 2]),
        ("mixed", "[not JSON", "[not JSON"),
        ("anything", '{"deep": [null, 1.5]}', {"deep": [None, 1.5]}),
        ("anything", "text", "text"),
        ("url", "http://EXAMPLE.org", "http://example.org/"),
        ("slots", 7, 7),
        ("mixed", None, None),
    ],
)
def test_text_from_the_command_line_becomes_what_the_flavor_takes(field: str, given: object, kept: object) -> None:
    assert check(**{field: given}) == {field: kept}


def test_only_what_was_given_is_kept_in_the_order_of_the_flavor() -> None:
    assert list(validated(Shelf, {"slots": "4", **NEEDED})) == ["bucket", "token", "slots"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"slot": "1"}, r"'slot' is not known.*'slots'.*flavor describe shelf"),
        ({"slots": "many"}, r"'slots': Input should be a valid integer"),
        ({"slots": "1.5"}, r"'slots'"),
        ({"ratio": "inf"}, r"'ratio'.*finite"),
        ({"mode": "c"}, r"'mode': Input should be 'a' or 'b'"),
        ({"region": "Mars"}, r"'region': 'Mars' is not a region"),
        ({"hosts": "[1"}, r"value of 'hosts' is not JSON"),
        ({"hosts": "[" * 200_000}, r"value of 'hosts' is not JSON"),
        ({"ports": '{"a": 1, "a": 2}'}, r"a key stands in it twice"),
        ({"ports": '{"a": NaN}'}, r"NaN is not a number of JSON"),
        ({"limits": '{"memory": "x"}'}, r"'limits.memory'"),
        ({"slots": "{{a.b}}"}, r"'slots'.*only where the flavor takes text"),
        ({"mode": "env:MODE"}, r"'mode'.*only where the flavor takes text"),
        ({"hosts": "{{a.b}}"}, r"'hosts'.*only where the flavor takes text"),
        ({"slots": "x", "slot": "y"}, r"'slots'.*; 'slot' is not known"),
        ({"anything": {"a": ["b\ud800"]}}, r"'b\\ud800' in the configuration is not text in UTF-8"),
        ({"anything": {"a\ud800": 1}}, r"is not text in UTF-8"),
        ({"anything": '["\\ud800"]'}, r"is not text in UTF-8"),
        ({"anything": "[" * 300 + "]" * 300}, r"nested more than 50 levels deep"),
        ({"anything": nested(5_000)}, r"nested more than 50 levels deep"),
        ({"\x1b[31mred": "y"}, r"'\\u001b\[31mred' is not known"),
    ],
)
def test_what_the_flavor_does_not_take_is_refused_with_a_reason(given: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=message):
        check(**given)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(InvalidConfiguration, match=r"'bucket' is required"):
        validated(Shelf, {"token": "env:TOKEN"})


@pytest.mark.parametrize(("field", "value"), [
    ("url", "{{shelf.url}}"),
    ("url", "https://{{shelf.host}}/path"),
    ("url", "env:SHELF_URL"),
    ("word", "{{shelf.word}}"),
    ("region", "env:REGION"),
    ("hosts", ["{{shelf.host}}", "b"]),
])  # fmt: skip
def test_a_reference_in_a_text_field_passes_every_validator_and_stays(field: str, value: JsonValue) -> None:
    assert check(**{field: value}) == {field: value}


def test_a_reference_in_clear_text_is_refused() -> None:
    with pytest.raises(InvalidConfiguration, match=r"'bucket': a reference to a secret cannot stand here"):
        validated(Shelf, NEEDED | {"bucket": "{{a.b}}"})


def test_a_literal_secret_is_refused_before_anything_can_print_it() -> None:
    with pytest.raises(LiteralSecret) as caught:
        validated(Shelf, {"token": CANARY, "slots": "x"})
    assert CANARY not in str(caught.value)


def test_references_are_followed_when_the_component_is_used() -> None:
    kept = validated(Shelf, NEEDED | {"url": "https://{{shelf.host}}/", "region": "env:REGION"})
    config = configured(
        Shelf, kept, lambda _: {"host": "example.org", "token": CANARY}, environment={"REGION": "there"}
    )
    assert isinstance(config, ShelfConfig)
    assert (str(config.url), config.token, config.region, config.slots) == ("https://example.org/", CANARY, "there", 4)


def test_a_value_that_the_flavor_refuses_at_use_is_not_in_the_message() -> None:
    kept = validated(Shelf, NEEDED | {"region": "{{shelf.region}}"})
    redactor = Redactor()
    with pytest.raises(InvalidConfiguration, match=r"'region': '\*\*\*' is not a region") as caught:
        configured(Shelf, kept, lambda _: {"token": "t" * 9, "region": CANARY}, redactor)
    assert CANARY not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert redactor.redacted(f"<{CANARY}>") == "<***>"


def test_a_missing_secret_is_named_at_use() -> None:
    with pytest.raises(SecretError, match=r"secret 'shelf' has no key 'token'.*'tokens'"):
        configured(Shelf, NEEDED, lambda _: {"tokens": CANARY})


def test_fields_are_described_in_words() -> None:
    described = {field.name: field for field in describe_fields(Shelf)}
    assert described["bucket"] == FieldDescription("bucket", "text", True, None, False, "where objects go")  # noqa: FBT003  as the row reads
    assert described["token"].secret
    assert {name: (field.type, field.default) for name, field in described.items() if not field.required} == {
        "url": ("URL", None),
        "word": ("text", "WORD"),
        "region": ("text", "here"),
        "slots": ("whole number", 4),
        "ratio": ("number", 0.5),
        "verify": ("true or false", True),
        "speed": ("one of fast, slow", "fast"),
        "mode": ("one of a, b", "a"),
        "hosts": ("list of text", []),
        "ports": ("map of whole number", {}),
        "limits": ("map", None),
        "mixed": ("text or list of whole number", None),
        "anything": ("JSON", None),
    }


def test_a_component_is_prepared_with_the_values_of_its_references(tmp_path: Path) -> None:
    Shelf.prepared.clear()
    prepare(Shelf, NEEDED, tmp_path, "1", {"shelf": {"token": "given"}}.__getitem__)
    assert Shelf.prepared == [(ShelfConfig(bucket="b", token="given"), tmp_path, "1")]


@pytest.mark.parametrize("token", ["{{shelf.other}}", "{{nowhere.token}}", "env:NOBODY_SET_THIS"])
def test_nothing_is_prepared_while_a_value_cannot_be_had(tmp_path: Path, token: str) -> None:
    def lookup(name: str) -> Mapping[str, str]:
        if name != "shelf":
            raise NotFound("no such secret")
        return {"token": "given"}

    Shelf.prepared.clear()
    prepare(Shelf, {"bucket": "b", "token": token}, tmp_path, "1", lookup)
    assert Shelf.prepared == []


def test_what_is_wrong_is_told_without_the_value_of_a_secret(tmp_path: Path) -> None:
    class Talkative(Shelf):
        @classmethod
        def prepare(cls, config: FlavorConfig, home: Path, component_id: str) -> None:  # noqa: ARG003 - as it is called
            assert isinstance(config, ShelfConfig)
            raise ArtifactError(f"{config.token} is not let in", hint=f"give another than {config.token}")

    with pytest.raises(ArtifactError) as refused:
        prepare(Talkative, NEEDED, tmp_path, "1", {"shelf": {"token": "hunter2"}}.__getitem__)
    assert str(refused.value) == "*** is not let in give another than ***"
    assert "hunter2" not in repr(refused.value)


LOCAL_STORE = (ComponentType.ARTIFACT_STORE, "local", "path")
SQLITE = (ComponentType.METADATA_STORE, "sqlite", "uri")
REGISTRY = (ComponentType.CONTAINER_REGISTRY, "default", "uri")


@pytest.mark.parametrize(
    ("flavor", "given", "kept"),
    [
        (LOCAL_STORE, "~/a/../b", "/home/me/b"),
        (LOCAL_STORE, "stores/mine", "/work dir/stores/mine"),
        (SQLITE, "metadata.db", "sqlite:////work dir/metadata.db"),
        (SQLITE, "sqlite:////data/metadata.db", "sqlite:////data/metadata.db"),
        (REGISTRY, "localhost:5000", "localhost:5000"),
        (REGISTRY, "registry.example.org/team/", "registry.example.org/team"),
        (REGISTRY, "[::1]:5000", "[::1]:5000"),
    ],
)
def test_places_are_kept_in_one_form(
    flavor: tuple[ComponentType, str, str], given: str, kept: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    component_type, name, field = flavor
    (tmp_path / "work dir").mkdir()
    monkeypatch.chdir(tmp_path / "work dir")
    monkeypatch.setenv("HOME", "/home/me")
    found = validated(of_flavor(component_type, name), {field: given})
    assert found == {field: kept.replace("/work dir", f"{tmp_path}/work dir")}


@pytest.mark.parametrize(
    ("flavor", "given", "message"),
    [
        (LOCAL_STORE, "ftp://host/x", r"has the scheme 'ftp', but a path of this machine is wanted\."),
        (LOCAL_STORE, "", r"the path is empty"),
        (LOCAL_STORE, "a\0b", r"cannot be printed"),
        (LOCAL_STORE, "a\udcffb", r"is not text in UTF-8"),
        (LOCAL_STORE, "{{a.b}}", r"cannot stand here"),
        (LOCAL_STORE, "~no-such-user/x", r"no home folder for '~no-such-user'"),
        (SQLITE, "mysql://host/db", r"has the scheme 'mysql'"),
        (REGISTRY, "https://localhost:5000", r"has a scheme"),
        (REGISTRY, "user@localhost", r"no user and no password"),
        (REGISTRY, "localhost:99999", r"is not the address of a registry"),
        (REGISTRY, "two words", r"is not the address of a registry"),
    ],
)
def test_places_that_cannot_be_meant_are_refused(
    flavor: tuple[ComponentType, str, str], given: str, message: str
) -> None:
    component_type, name, field = flavor
    with pytest.raises(InvalidConfiguration, match=message):
        validated(of_flavor(component_type, name), {field: given})


@pytest.mark.parametrize(("scheme", "serves"), [("s3", "s3"), ("gs", "gcs"), ("az", "azure"), ("abfs", "azure")])
def test_a_scheme_that_another_flavor_serves_is_answered_with_that_flavor(scheme: str, serves: str) -> None:
    with pytest.raises(InvalidConfiguration, match=rf"; the flavor '{serves}' serves {scheme}://\."):
        validated(of_flavor(ComponentType.ARTIFACT_STORE, "local"), {"path": f"{scheme}://bucket"})


class Tree(BaseModel):
    name: str
    children: list[Tree] = Field(default_factory=list)


class ForestConfig(ShelfConfig):
    """Everything that pydantic offers at once, below another configuration."""

    password: SecretStr | None = Field(default=None, description="not marked, but hidden by pydantic")
    tree: Tree | None = None
    other_tree: Tree | None = None
    choice: Annotated[int | str, Field(description="either")] = Field(
        default_factory=lambda: "x", validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _whole_before(cls, values: object) -> object:
        return values

    @model_validator(mode="after")
    def _whole_after(self) -> ForestConfig:
        if self.slots == 13:
            raise ValueError("thirteen slots are bad luck")
        return self

    @field_validator("*", mode="wrap")
    @classmethod
    def _each(cls, value: object, handler: ValidatorFunctionWrapHandler) -> object:
        assert not isinstance(value, str) or "{{" not in value
        return handler(value)


class Forest(Shelf):
    """Grows."""

    name = "forest"
    config_class = ForestConfig


def test_references_pass_whatever_pydantic_offers() -> None:
    given = NEEDED | {
        "url": "https://{{shelf.host}}",
        "password": "{{shelf.password}}",
        "tree": '{"name": "a", "children": [{"name": "b"}]}',
        "choice": "env:CHOICE",
        "region": "{{shelf.region}}",
    }
    kept = validated(Forest, given)
    assert kept == given | {"tree": {"name": "a", "children": [{"name": "b"}]}}
    values = {"host": "example.org", "password": CANARY, "token": "t", "region": "there"}
    config = configured(Forest, kept, lambda _: values, environment={"CHOICE": "7"})
    assert isinstance(config, ForestConfig)
    assert config.password is not None
    assert (config.password.get_secret_value(), config.choice, str(config.url)) == (CANARY, "7", "https://example.org/")
    assert CANARY not in repr(config)


def test_what_pydantic_hides_is_a_secret() -> None:
    assert ForestConfig.secret_fields() == {"token", "password"}
    with pytest.raises(LiteralSecret):
        validated(Forest, NEEDED | {"password": CANARY})


def test_the_whole_may_be_refused() -> None:
    with pytest.raises(InvalidConfiguration, match=r"configuration: the whole: thirteen slots are bad luck\."):
        validated(Forest, NEEDED | {"slots": "13"})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=3),
    max_leaves=5,
)
TEXTS = st.text() | st.sampled_from(["{{a.b}}", "env:X", "s3://x", "~", "[[" * 500, '{"a":' * 900 + "1" + "}" * 900])


@given(
    st.sampled_from([LOCAL_STORE, SQLITE, REGISTRY]),
    st.dictionaries(st.sampled_from(["path", "uri"]) | st.text(), VALUES | TEXTS, max_size=3),
)
def test_whatever_is_given_is_kept_uniform_or_refused(
    flavor: tuple[ComponentType, str, str], raw: dict[str, object]
) -> None:
    chosen = of_flavor(*flavor[:2])
    try:
        kept = validated(chosen, raw)
    except InvalidValue as error:
        assert str(error)  # noqa: PT017  either of the two outcomes is right
    else:
        assert validated(chosen, kept) == kept


@given(st.sampled_from(list(ShelfConfig.model_fields)), VALUES | TEXTS)
def test_whatever_is_given_to_any_field_is_kept_as_json_or_refused(field: str, value: object) -> None:
    try:
        kept = validated(Shelf, NEEDED | {field: value})
    except InvalidValue as error:
        assert str(error)  # noqa: PT017  as above
    else:
        assert json.loads(json.dumps(kept, allow_nan=False)) == kept
        assert validated(Shelf, kept) == kept


def test_a_flavor_that_fails_where_it_should_refuse_is_named_and_no_secret_is(tmp_path: Path) -> None:
    class BrokenConfig(ShelfConfig):
        @field_validator("bucket")
        @classmethod
        def _failing(cls, value: str) -> str:
            if value == "broken":
                raise KeyError(value)
            return value

    class Broken(Shelf):
        config_class = BrokenConfig

        @classmethod
        def prepare(cls, config: FlavorConfig, home: Path, component_id: str) -> None:  # noqa: ARG003 - as it is called
            assert isinstance(config, ShelfConfig)
            raise OSError(f"{config.token} is not let in")

    with pytest.raises(FlavorError, match="failed to check this configuration: KeyError: 'broken'"):
        validated(Broken, NEEDED | {"bucket": "broken"})
    with pytest.raises(FlavorError, match="failed to check this configuration: KeyError"):
        configured(Broken, {"bucket": "broken", "token": "env:HERE"}, lambda _: {}, environment={"HERE": "x"})
    with pytest.raises(FlavorError, match=r"failed to prepare a component: OSError: \*\*\* is not let in") as failed:
        prepare(Broken, NEEDED, tmp_path, "1", {"shelf": {"token": "hunter2"}}.__getitem__)
    assert failed.value.__cause__ is None


def test_what_is_no_list_or_no_map_is_told_how_to_write_one() -> None:
    with pytest.raises(InvalidConfiguration, match=r"""'hosts' is a list, as in '\["a", "b"\]'"""):
        validated(Shelf, NEEDED | {"hosts": "here,there"})
    with pytest.raises(InvalidConfiguration, match=r"""'ports' is a map, as in '{"key": "value"}'"""):
        validated(Shelf, NEEDED | {"ports": "1"})
