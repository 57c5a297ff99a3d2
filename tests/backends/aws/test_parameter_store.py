"""Parameters of Parameter Store."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AstroTokenError,
    BackendUnavailableError,
    InvalidTokenError,
    SecretNotFoundError,
)
from astro_token.secrets.protocols import SupportsDescribe, SupportsReadMany, SupportsWrite
from astro_token.secrets.registry import open_backend
from astro_token.testing import BackendContract, Harness
from astro_token_backends.aws.parameter_store import ParameterStore
from tests.backends.aws.service import (
    SECONDS,
    allow,
    client,
    error_of,
    keys,
    new_session,
    ref,
    secret,
    unique,
)
from tests.servers.faults import FaultServer
from tests.servers.http1 import Answer
from tests.servers.wire import Wire

if TYPE_CHECKING:
    from astro_token.secret import SecretValue
    from astro_token_backends.aws.client import Session
    from tests.servers.ministack import MiniStack

MISSING = "aws-ssm:/no/such/parameter"


class Parameters:
    """What the tests read."""

    def __init__(self, sdk: Any) -> None:
        self.client = sdk

    def put(self, text: str, name: str | None = None, **further: Any) -> str:
        name = name or f"/{unique()}"
        kind = {"Type": "SecureString", "Tier": "Advanced", **further}
        self.client.put_parameter(Name=name, Value=text, Overwrite=True, **kind)
        return name

    def arn(self, name: str) -> str:
        return str(self.client.get_parameter(Name=name)["Parameter"]["ARN"])

    def about(self, name: str) -> dict[str, Any]:
        filters = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
        (found,) = self.client.describe_parameters(ParameterFilters=filters)["Parameters"]
        return dict(found)


@pytest.fixture(scope="module")
def parameters(ministack: MiniStack) -> Parameters:
    return Parameters(client(ministack, "ssm"))


@pytest.fixture
def backend(session: Session) -> ParameterStore:
    return ParameterStore(session=session)


def read(backend: ParameterStore, text: str) -> SecretValue:
    return backend.read(ref(text), timeout=SECONDS)


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, backend: ParameterStore, parameters: Parameters) -> Harness:
        name = parameters.put("first")

        def store(data: bytes) -> None:
            parameters.put(data.decode(), name)

        return Harness(backend, store, present=f"aws-ssm:{name}", missing=MISSING)


def test_it_is_all_that_a_backend_can_be(environment: MiniStack) -> None:
    backend = open_backend("aws-ssm")
    assert isinstance(backend, ParameterStore)
    assert isinstance(backend, SupportsReadMany)
    assert isinstance(backend, SupportsDescribe)
    assert isinstance(backend, SupportsWrite)


class TestReading:
    @pytest.mark.parametrize("kind", ["SecureString", "String", "StringList"])
    def test_a_parameter_of_any_type_is_its_text(
        self, backend: ParameterStore, parameters: Parameters, kind: str
    ) -> None:
        name = parameters.put("a,b", Type=kind)
        assert read(backend, f"aws-ssm:{name}") == secret("a,b")

    def test_a_version_and_a_label_can_be_named(
        self, backend: ParameterStore, parameters: Parameters
    ) -> None:
        name = parameters.put("first")
        parameters.client.label_parameter_version(Name=name, ParameterVersion=1, Labels=["live"])
        parameters.put("second", name)
        for selector, text, version in (
            ("?version=1", "first", "1"),
            ("?label=live", "first", "1"),
            ("", "second", "2"),
        ):
            value = read(backend, f"aws-ssm:{name}{selector}")
            assert (value, value.version) == (secret(text), version)

    @pytest.mark.parametrize("selector", ["?version=9", "?label=none"])
    def test_a_version_or_a_label_that_is_not_there(
        self, backend: ParameterStore, parameters: Parameters, selector: str, canary: str
    ) -> None:
        name = parameters.put(canary)
        error = error_of(lambda: read(backend, f"aws-ssm:{name}{selector}"), canary)
        assert type(error) is SecretNotFoundError

    def test_version_and_label_at_once_are_refused(self, backend: ParameterStore) -> None:
        error = error_of(lambda: read(backend, f"{MISSING}?version=1&label=a"))
        assert error.exit_code == 64

    def test_an_arn_brings_its_region(
        self, backend: ParameterStore, parameters: Parameters, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = parameters.put("value")
        arn = parameters.arn(name)
        monkeypatch.delenv("AWS_REGION")
        assert read(backend, f"aws-ssm:{arn}") == secret("value")
        assert read(backend, f"aws-ssm:{arn}?version=1") == secret("value")

    def test_another_region_has_none_of_it(self, backend: ParameterStore, parameters: Parameters) -> None:
        name = parameters.put("value")
        assert error_of(lambda: read(backend, f"aws-ssm:{name}?region=us-east-1")).exit_code == 66


class TestDescribing:
    def test_it_tells_version_and_time_and_asks_for_no_value_in_clear(
        self, environment: MiniStack, parameters: Parameters, canary: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = parameters.put("first")
        parameters.put(canary, name)
        with Wire(environment.endpoint) as wire:
            monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
            backend = ParameterStore(session=new_session())
            about = backend.describe(ref(f"aws-ssm:{name}"), timeout=SECONDS)
            assert [json.loads(request.body).get("WithDecryption") for request in wire.requests] == [
                None,
                None,
            ]
            first = backend.describe(ref(f"aws-ssm:{name}?version=1"), timeout=SECONDS)
        assert (about.version, about.enabled) == ("2", True)
        assert about.updated is not None
        assert about.updated.tzinfo is not None
        assert first.version == "1"

    def test_an_expiration_policy_is_when_it_expires(
        self, monkeypatch: pytest.MonkeyPatch, environment: MiniStack
    ) -> None:
        text = json.dumps(
            {"Type": "Expiration", "Version": "1.0", "Attributes": {"Timestamp": "2030-01-02T03:04:05.000Z"}}
        )
        one = {"Name": "/a", "Type": "SecureString", "Value": "x", "Version": 3, "LastModifiedDate": 1.0}
        listed = {**one, "Policies": [{"PolicyText": "nonsense"}, {"PolicyText": text}]}
        pages = [
            Answer.json({"Parameter": one}),
            Answer.json({"Parameters": [], "NextToken": "more"}),
            Answer.json({"Parameters": [listed]}),
        ]
        with FaultServer(lambda number: pages[number - 1]) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            about = ParameterStore(session=new_session()).describe(ref("aws-ssm:/a"), timeout=SECONDS)
            assert server.count == 3
        assert about.expires is not None
        assert about.expires.isoformat() == "2030-01-02T03:04:05+00:00"

    def test_what_is_missing_is_not_found(self, backend: ParameterStore) -> None:
        error = error_of(lambda: backend.describe(ref(MISSING), timeout=SECONDS))
        assert type(error) is SecretNotFoundError


class TestWriting:
    def write(
        self, backend: ParameterStore, name: str, value: str | bytes, expected: str | None = None
    ) -> str:
        return backend.write(
            ref(f"aws-ssm:{name}"), secret(value), expected_version=expected, timeout=SECONDS
        )

    def test_what_was_written_is_read_and_type_key_and_tier_stay(
        self, backend: ParameterStore, parameters: Parameters
    ) -> None:
        name = parameters.put("first", KeyId="alias/team")
        assert self.write(backend, name, "second", "1") == "2"
        assert self.write(backend, name, "third") == "3"
        value = read(backend, f"aws-ssm:{name}")
        assert (value, value.version) == (secret("third"), "3")
        about = parameters.about(name)
        assert (about["Type"], about["KeyId"], about["Tier"]) == ("SecureString", "alias/team", "Advanced")

    def test_a_plain_parameter_stays_a_plain_one(
        self, backend: ParameterStore, parameters: Parameters
    ) -> None:
        name = parameters.put("first", Type="String", Tier="Standard")
        self.write(backend, name, "second")
        about = parameters.about(name)
        assert (about["Type"], about["Tier"], about.get("KeyId")) == ("String", "Standard", None)

    def test_an_arn_is_written_by_its_name(self, backend: ParameterStore, parameters: Parameters) -> None:
        name = parameters.put("first")
        assert self.write(backend, parameters.arn(name), "second", "1") == "2"
        assert read(backend, f"aws-ssm:{name}") == secret("second")

    def test_another_version_than_the_expected_one_is_not_replaced(
        self, backend: ParameterStore, parameters: Parameters, canary: str
    ) -> None:
        name = parameters.put("first")
        parameters.put("second", name)
        for expected in ("1", "3", "0"):
            error = error_of(partial(self.write, backend, name, canary, expected), canary)
            assert type(error) is BackendUnavailableError
        assert read(backend, f"aws-ssm:{name}") == secret("second")

    def test_who_comes_in_between_is_told(
        self, environment: MiniStack, parameters: Parameters, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = parameters.put("first")

        def between(number: int) -> str:
            if number == 3:  # after the version was compared, before the write
                parameters.put("theirs", name)
            return "pass"

        with FaultServer(between, upstream=environment.endpoint) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            backend = ParameterStore(session=new_session())
            error = error_of(lambda: self.write(backend, name, "ours", "1"))
        assert error.exit_code == 75
        assert "version 2" in str(error.hint)
        assert read(backend_of(environment, monkeypatch), f"aws-ssm:{name}?version=2") == secret("theirs")

    @pytest.mark.parametrize("value", [b"\xff\xfe", b""])
    def test_what_is_no_text_is_not_written(
        self, backend: ParameterStore, parameters: Parameters, value: bytes
    ) -> None:
        name = parameters.put("first")
        assert type(error_of(lambda: self.write(backend, name, value))) is InvalidTokenError

    def test_a_missing_parameter_is_not_made(self, backend: ParameterStore) -> None:
        name = f"/{unique()}"
        for expected in (None, "0"):
            error = error_of(lambda: self.write(backend, name, "x", expected))  # noqa: B023
            assert type(error) is SecretNotFoundError
            assert f"aws ssm put-parameter --name {name} " in str(error.hint)
        assert error_of(lambda: read(backend, f"aws-ssm:{name}")).exit_code == 66

    def test_the_permissions_in_the_docs_are_enough_and_each_is_named_where_it_lacks(
        self, parameters: Parameters, environment: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = parameters.put("first")
        needed = {
            "ssm:GetParameter": parameters.arn(name),
            "ssm:DescribeParameters": "*",
            "ssm:PutParameter": parameters.arn(name),
        }
        for lacking in needed:
            statements = [allow(action, on=on) for action, on in needed.items() if action != lacking]
            for variable, value in keys(environment, *statements).items():
                monkeypatch.setenv(variable, value)
            error = error_of(lambda: self.write(ParameterStore(session=new_session()), name, "x", "1"))
            assert error.exit_code == 77
            assert lacking in str(error.hint)
        statements = [allow(action, on=on) for action, on in needed.items()]
        for variable, value in keys(environment, *statements).items():
            monkeypatch.setenv(variable, value)
        assert self.write(ParameterStore(session=new_session()), name, "second", "1") == "2"


def backend_of(environment: MiniStack, monkeypatch: pytest.MonkeyPatch) -> ParameterStore:
    monkeypatch.setenv("AWS_ENDPOINT_URL", environment.endpoint)
    return ParameterStore(session=new_session())


class TestReadingMany:
    def test_all_kinds_of_references_get_their_own_answer(
        self, environment: MiniStack, parameters: Parameters, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [parameters.put(f"value {number}") for number in range(12)]
        parameters.put("newer", names[0])
        parameters.client.label_parameter_version(Name=names[0], ParameterVersion=1, Labels=["live"])
        texts = {
            **{f"aws-ssm:{name}": f"value {number}" for number, name in enumerate(names)},
            f"aws-ssm:{names[0]}": "newer",
            f"aws-ssm:{names[0]}?version=1": "value 0",
            f"aws-ssm:{names[0]}?label=live": "value 0",
            f"aws-ssm:{parameters.arn(names[1])}": "value 1",
            MISSING: None,
        }
        refs = [ref(text) for text in texts]
        with Wire(environment.endpoint) as wire:
            monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
            found = ParameterStore(session=new_session()).read_many(refs, timeout=SECONDS)
            asked = [request.headers["x-amz-target"].rpartition(".")[2] for request in wire.requests]
        assert list(found) == refs
        for place, expected in zip(refs, texts.values(), strict=True):
            one = found[place]
            if expected is None:
                assert type(one) is SecretNotFoundError
            else:
                assert one == secret(expected), place
        # 15 of the environment's region in two, and the one whose ARN names it by itself.
        assert sorted(asked) == ["GetParameter", "GetParameters", "GetParameters"]

    def test_without_the_right_to_several_each_is_read_by_itself(
        self, environment: MiniStack, parameters: Parameters, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [parameters.put(f"value {number}") for number in range(3)]
        statements = [allow("ssm:GetParameter", on=parameters.arn(name)) for name in names[:2]]
        for variable, value in keys(environment, *statements).items():
            monkeypatch.setenv(variable, value)
        refs = [ref(f"aws-ssm:{name}") for name in names]
        found = ParameterStore(session=new_session()).read_many(refs, timeout=SECONDS)
        assert [found[refs[0]], found[refs[1]]] == [secret("value 0"), secret("value 1")]
        denied = found[refs[2]]
        assert isinstance(denied, AstroTokenError)
        assert "ssm:GetParameter" in str(denied.hint)
