"""Secrets of Secrets Manager."""

from __future__ import annotations

import json
import threading
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.errors import (
    AstroTokenError,
    BackendUnavailableError,
    SecretNotFoundError,
    UnusableSecretError,
)
from astro_token.secrets.protocols import SupportsDescribe, SupportsReadMany, SupportsWrite
from astro_token.secrets.registry import open_backend
from astro_token.testing import BackendContract, Harness, make_token
from astro_token_backends.aws.secrets_manager import SecretsManager
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
    from collections.abc import Iterator
    from pathlib import Path

    from astro_token.secret import SecretValue
    from astro_token_backends.aws.client import Session
    from tests.servers.ministack import MiniStack

MISSING = f"aws:{unique()}"


class Secrets:
    """What the tests read."""

    def __init__(self, sdk: Any) -> None:
        self.client = sdk

    def put(self, text: str | bytes, name: str | None = None) -> tuple[str, str]:
        """Adds a version; the name (a new one if none is given) and the version's id."""
        value = {"SecretString": text} if isinstance(text, str) else {"SecretBinary": text}
        if name is None:
            name = unique()
            return name, self.client.create_secret(Name=name, **value)["VersionId"]
        return name, self.client.put_secret_value(SecretId=name, **value)["VersionId"]

    def stages(self, name: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = self.client.describe_secret(SecretId=name)["VersionIdsToStages"]
        return found

    def arn(self, name: str) -> str:
        return str(self.client.describe_secret(SecretId=name)["ARN"])


@pytest.fixture(scope="module")
def secrets(ministack: MiniStack) -> Secrets:
    return Secrets(client(ministack, "secretsmanager"))


@pytest.fixture
def backend(session: Session) -> SecretsManager:
    return SecretsManager(session=session)


def read(backend: SecretsManager, text: str) -> SecretValue:
    return backend.read(ref(text), timeout=SECONDS)


class TestContract(BackendContract):
    @pytest.fixture
    def harness(self, backend: SecretsManager, secrets: Secrets) -> Harness:
        name, _ = secrets.put("first")
        # A secret is not made by us; to one without a current version we give its first.
        empty, version = secrets.put("of no stage")
        secrets.client.update_secret_version_stage(
            SecretId=empty, VersionStage="AWSCURRENT", RemoveFromVersionId=version
        )

        def store(data: bytes) -> None:
            secrets.put(data.decode(), name)

        return Harness(backend, store, present=f"aws:{name}", missing=MISSING, writable=f"aws:{empty}")


def test_it_is_all_that_a_backend_can_be(environment: MiniStack) -> None:
    backend = open_backend("aws")
    assert isinstance(backend, SecretsManager)
    assert isinstance(backend, SupportsReadMany)
    assert isinstance(backend, SupportsDescribe)
    assert isinstance(backend, SupportsWrite)


class TestReading:
    def test_bytes_come_back_as_they_were(self, backend: SecretsManager, secrets: Secrets) -> None:
        data = bytes(range(256))
        assert data == read(backend, f"aws:{secrets.put(data)[0]}").reveal()

    def test_a_version_and_a_stage_can_be_named(self, backend: SecretsManager, secrets: Secrets) -> None:
        name, first = secrets.put("first")
        secrets.put("second", name)
        assert read(backend, f"aws:{name}?version_id={first}") == secret("first")
        assert read(backend, f"aws:{name}?stage=AWSPREVIOUS") == secret("first")
        assert read(backend, f"aws:{name}") == secret("second")

    def test_an_arn_brings_its_region_and_may_lack_its_suffix(
        self, backend: SecretsManager, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arn = secrets.arn(secrets.put("value")[0])
        monkeypatch.delenv("AWS_REGION")
        assert read(backend, f"aws:{arn}") == secret("value")
        assert read(backend, f"aws:{arn[:-7]}") == secret("value")

    def test_a_partial_arn_that_looks_complete_is_refused(
        self, backend: SecretsManager, secrets: Secrets, canary: str
    ) -> None:
        """Its record of rotations would be that of the secret without this end."""
        name = f"{unique()}-abc123"
        secrets.client.create_secret(Name=name, SecretString=canary)
        arn = secrets.arn(name)
        assert read(backend, f"aws:{arn}") == secret(canary)
        error = error_of(lambda: read(backend, f"aws:{arn[:-7]}"), canary)
        assert (64, "name the complete ARN, or the name") == (error.exit_code, error.hint)

    def test_the_region_is_looked_for_in_order(
        self, secrets: Secrets, environment: MiniStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        name, _ = secrets.put("value")
        profile = tmp_path / "config"
        profile.write_text("[default]\nregion = eu-west-1\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(profile))
        monkeypatch.delenv("AWS_REGION")
        backend = SecretsManager(session=new_session())
        assert read(backend, f"aws:{name}") == secret("value")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        assert error_of(lambda: read(backend, f"aws:{name}")).exit_code == 66
        monkeypatch.setenv("AWS_REGION", "eu-west-1")
        assert read(backend, f"aws:{name}") == secret("value")
        assert error_of(lambda: read(backend, f"aws:{name}?region=us-east-1")).exit_code == 66

    def test_a_version_that_is_not_there(
        self, backend: SecretsManager, secrets: Secrets, canary: str
    ) -> None:
        name, _ = secrets.put(canary)
        for option in (f"version_id={uuid.uuid4()}", "stage=NOTHING"):
            error = error_of(lambda: read(backend, f"aws:{name}?{option}"), canary)  # noqa: B023
            assert error.exit_code == 66

    def test_a_secret_marked_for_deletion(
        self, backend: SecretsManager, secrets: Secrets, canary: str
    ) -> None:
        name, _ = secrets.put(canary)
        secrets.client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
        error = error_of(lambda: read(backend, f"aws:{name}"), canary)
        assert error.exit_code == 66
        assert "restore-secret" in str(error.hint)

    def test_a_client_of_ones_own_can_be_injected(self, secrets: Secrets) -> None:
        name, version = secrets.put("value")
        assert version == read(SecretsManager(secrets.client), f"aws:{name}").version


class TestDescribing:
    def test_it_tells_version_times_and_tags(self, backend: SecretsManager, secrets: Secrets) -> None:
        name = unique()
        first = secrets.client.create_secret(
            Name=name, SecretString="a", Tags=[{"Key": "team", "Value": "dags"}]
        )
        about = backend.describe(ref(f"aws:{name}"), timeout=SECONDS)
        assert first["VersionId"] == about.version
        assert about.enabled is True
        assert about.labels == {"team": "dags"}
        assert about.created is not None
        assert about.created.tzinfo is not None
        assert about.updated is not None

    def test_a_version_and_a_stage_can_be_named(self, backend: SecretsManager, secrets: Secrets) -> None:
        name, first = secrets.put("first")
        secrets.put("second", name)
        for option in (f"version_id={first}", "stage=AWSPREVIOUS"):
            assert first == backend.describe(ref(f"aws:{name}?{option}"), timeout=SECONDS).version
        for option in (f"version_id={uuid.uuid4()}", "stage=NOTHING"):
            place = ref(f"aws:{name}?{option}")
            error = error_of(lambda: backend.describe(place, timeout=SECONDS))  # noqa: B023
            assert error.exit_code == 66

    def test_a_secret_marked_for_deletion_is_not_enabled(
        self, backend: SecretsManager, secrets: Secrets
    ) -> None:
        name, _ = secrets.put("a")
        secrets.client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
        assert backend.describe(ref(f"aws:{name}"), timeout=SECONDS).enabled is False

    def test_what_is_missing_is_not_found(self, backend: SecretsManager) -> None:
        error = error_of(lambda: backend.describe(ref(MISSING), timeout=SECONDS))
        assert type(error) is SecretNotFoundError


class TestWriting:
    def write(
        self, backend: SecretsManager, name: str, value: str | bytes, expected: str | None = None
    ) -> str:
        return backend.write(ref(f"aws:{name}"), secret(value), expected_version=expected, timeout=SECONDS)

    def test_what_was_written_is_read(self, backend: SecretsManager, secrets: Secrets) -> None:
        name, first = secrets.put("first")
        for value in ("second", b"\xff\x00", "third"):
            version = self.write(backend, name, value)
            now = read(backend, f"aws:{name}")
            assert (now, now.version) == (secret(value), version)
        assert first not in secrets.stages(name)

    def test_the_expected_version_is_replaced_and_kept_as_the_previous_one(
        self, backend: SecretsManager, secrets: Secrets
    ) -> None:
        name, first = secrets.put("first")
        second = self.write(backend, name, "second", first)
        assert read(backend, f"aws:{name}") == secret("second")
        assert secrets.stages(name) == {first: ["AWSPREVIOUS"], second: ["ASTRO_TOKEN", "AWSCURRENT"]}
        third = self.write(backend, name, "third", second)
        assert read(backend, f"aws:{name}").version == third

    def test_another_version_than_the_expected_one_is_not_replaced(
        self, backend: SecretsManager, secrets: Secrets, canary: str
    ) -> None:
        name, first = secrets.put("first")
        _, second = secrets.put("second", name)
        before = secrets.stages(name)
        for expected in (first, str(uuid.uuid4()), "0"):
            error = error_of(partial(self.write, backend, name, canary, expected), canary)
            assert type(error) is BackendUnavailableError
        assert read(backend, f"aws:{name}").version == second
        assert secrets.stages(name) == before

    def test_of_two_who_write_at_once_one_wins(self, backend: SecretsManager, secrets: Secrets) -> None:
        name, first = secrets.put("first")
        done: list[str] = []
        refused: list[int] = []

        def one(value: str) -> None:
            try:
                done.append(self.write(backend, name, value, first))
            except AstroTokenError as error:
                refused.append(error.exit_code)

        writers = [threading.Thread(target=one, args=(f"value {number}",)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(SECONDS)
        assert refused == [75, 75, 75]
        assert done == [read(backend, f"aws:{name}").version]

    def test_a_secret_without_a_value_is_filled(self, backend: SecretsManager, secrets: Secrets) -> None:
        name, first = secrets.put("only to be without a current version")
        secrets.client.update_secret_version_stage(
            SecretId=name, VersionStage="AWSCURRENT", RemoveFromVersionId=first
        )
        assert error_of(lambda: read(backend, f"aws:{name}")).exit_code == 66
        version = self.write(backend, name, "second", "0")
        assert read(backend, f"aws:{name}").version == version

    def test_a_missing_secret_is_not_made(self, backend: SecretsManager) -> None:
        name = unique()
        for expected in (None, "0"):
            error = error_of(lambda: self.write(backend, name, "x", expected))  # noqa: B023
            assert type(error) is SecretNotFoundError
            assert f"aws secretsmanager create-secret --name {name}`" in str(error.hint)
        assert error_of(lambda: read(backend, f"aws:{name}")).exit_code == 66

    def test_every_write_has_a_token_of_its_own_that_tells_nothing(
        self, secrets: Secrets, environment: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, _ = secrets.put("first")
        with Wire(environment.endpoint) as wire:
            monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
            backend = SecretsManager(session=new_session())
            versions = [self.write(backend, name, "the same") for _ in range(2)]
            tokens = [json.loads(request.body)["ClientRequestToken"] for request in wire.requests]
        assert tokens == versions
        assert len(set(tokens)) == 2

    def test_the_permissions_in_the_docs_are_enough_and_each_is_named_where_it_lacks(
        self, secrets: Secrets, environment: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name, version = secrets.put("first")
        on = secrets.arn(name)
        needed = ["secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"]
        for lacking in needed:
            statement = allow(*(action for action in needed if action != lacking), on=on)
            error = self.failed_as(environment, statement, name, version, monkeypatch)
            assert error.exit_code == 77
            assert lacking in str(error.hint)
        for variable, value in keys(environment, allow(*needed, on=on)).items():
            monkeypatch.setenv(variable, value)
        self.write(SecretsManager(session=new_session()), name, "second", version)

    def failed_as(
        self,
        environment: MiniStack,
        statement: Any,
        name: str,
        version: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> AstroTokenError:
        for variable, value in keys(environment, statement).items():
            monkeypatch.setenv(variable, value)
        return error_of(lambda: self.write(SecretsManager(session=new_session()), name, "x", version))


class TestReadingMany:
    def test_all_kinds_of_references_get_their_own_answer(
        self, environment: MiniStack, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [secrets.put(f"value {number}")[0] for number in range(23)]
        old, first = secrets.put("old")
        secrets.put("new", old)
        deleted, _ = secrets.put("deleted")
        secrets.client.delete_secret(SecretId=deleted, RecoveryWindowInDays=7)
        arn = secrets.arn(names[0])
        texts = {
            **{f"aws:{name}": f"value {number}" for number, name in enumerate(names)},
            f"aws:{arn}": "value 0",
            f"aws:{arn[:-7]}": "value 0",
            f"aws:{names[1]}?region=eu-west-1": "value 1",
            f"aws:{old}?version_id={first}": "old",
            f"aws:{old}?stage=AWSPREVIOUS": "old",
            f"aws:{old}": "new",
            f"aws:{deleted}": None,
            MISSING: None,
        }
        refs = [ref(text) for text in texts]
        with Wire(environment.endpoint) as wire:
            monkeypatch.setenv("AWS_ENDPOINT_URL", wire.url)
            found = SecretsManager(session=new_session()).read_many(refs, timeout=SECONDS)
            asked = [request.headers["x-amz-target"].rpartition(".")[2] for request in wire.requests]
        assert list(found) == refs
        for place, expected in zip(refs, texts.values(), strict=True):
            one = found[place]
            if expected is None:
                expected_kind = UnusableSecretError if place.name == deleted else SecretNotFoundError
                assert type(one) is expected_kind
            else:
                assert one == secret(expected), place
        # 26 names of the environment's region in two; the four with a region of their own by place.
        assert asked.count("BatchGetSecretValue") == 3
        assert asked.count("GetSecretValue") == 2

    def test_without_the_right_to_batches_each_is_read_by_itself(
        self, environment: MiniStack, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [secrets.put(f"value {number}")[0] for number in range(3)]
        statements = [allow("secretsmanager:GetSecretValue", on=secrets.arn(name)) for name in names[:2]]
        for variable, value in keys(environment, *statements).items():
            monkeypatch.setenv(variable, value)
        refs = [ref(f"aws:{name}") for name in names]
        found = SecretsManager(session=new_session()).read_many(refs, timeout=SECONDS)
        assert [found[refs[0]], found[refs[1]]] == [secret("value 0"), secret("value 1")]
        denied = found[refs[2]]
        assert isinstance(denied, AstroTokenError)
        assert denied.exit_code == 77

    def test_a_denied_one_hides_no_other(
        self, environment: MiniStack, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [secrets.put(f"value {number}")[0] for number in range(2)]
        statements = (
            allow("secretsmanager:BatchGetSecretValue"),
            allow("secretsmanager:GetSecretValue", on=secrets.arn(names[0])),
        )
        for variable, value in keys(environment, *statements).items():
            monkeypatch.setenv(variable, value)
        refs = [ref(f"aws:{name}") for name in names]
        found = SecretsManager(session=new_session()).read_many(refs, timeout=SECONDS)
        assert found[refs[0]] == secret("value 0")
        denied = found[refs[1]]
        assert isinstance(denied, AstroTokenError)
        assert "secretsmanager:GetSecretValue" in str(denied.hint)

    @pytest.mark.parametrize(
        ("answer", "code", "requests"),
        [
            (Answer.json({}), 76, 1),
            (Answer.json({"SecretValues": [], "Errors": []}), 76, 3),
            (Answer.json({"SecretValues": [{"Name": "a"}, {"Name": "b"}]}), 76, 1),
            (Answer.json({"__type": "ThrottlingException"}, 400), 75, 1),
            (Answer.json({"__type": "AccessDeniedException"}, 400), 77, 3),
            (Answer.json({"__type": "ExpiredTokenException"}, 400), 77, 1),
            (Answer.json({"__type": "UnrecognizedClientException"}, 400), 77, 1),
        ],
    )
    def test_a_batch_that_fails_is_an_error_for_each(
        self,
        environment: MiniStack,
        answer: Answer,
        code: int,
        requests: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        refs = [ref("aws:a"), ref("aws:b")]
        with FaultServer(lambda _: answer) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            found = SecretsManager(session=new_session()).read_many(refs, timeout=SECONDS)
            assert server.count == requests
        outcomes = [found[place] for place in refs]
        assert [one.exit_code for one in outcomes if isinstance(one, AstroTokenError)] == [code, code]

    def test_a_credential_that_is_refused_is_refused_once_for_each_region(
        self, environment: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        versions = [f"aws:pinned{number}?version_id={'0' * 32}" for number in range(30)]
        refs = [ref(f"aws:{number}") for number in range(50)] + [ref(text) for text in versions]
        elsewhere = [ref(f"aws:{number}?region=us-east-1") for number in range(2)]
        with FaultServer(lambda _: Answer.json({"__type": "ExpiredTokenException"}, 400)) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
            found = SecretsManager(session=new_session()).read_many([*refs, *elsewhere], timeout=SECONDS)
            # The batches that were under way, and none of those that would have been read alone.
            assert 2 <= server.count <= 4
        hints = {one.hint for one in found.values() if isinstance(one, AstroTokenError)}
        assert len(found) == 82
        assert ["renew it" in str(hint) for hint in hints] == [True]

    def test_where_there_is_no_credential_it_is_looked_for_once(
        self, environment: MiniStack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"):
            monkeypatch.delenv(variable)
        with FaultServer(404) as machine:
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{machine.url}/")
            refs = [ref(f"aws:{number}") for number in range(10)]
            found = SecretsManager(session=new_session()).read_many(refs, timeout=SECONDS)
            assert machine.count == 1
        assert {one.exit_code for one in found.values() if isinstance(one, AstroTokenError)} == {77}

    def test_a_batch_of_the_largest_secrets_is_taken(self, backend: SecretsManager, secrets: Secrets) -> None:
        names = [secrets.put("\u20ac" * 21_000)[0] for _ in range(20)]
        refs = [ref(f"aws:{name}") for name in names]
        found = backend.read_many(refs, timeout=SECONDS)
        assert [found[place] for place in refs] == [secret("\u20ac" * 21_000)] * 20


class TestStagesOfAnotherEmulator:
    """
    What two emulators agree on, for neither may decide a question about stages alone.

    They differ in this: after AWSCURRENT was moved, moto gives the value from before to who asks
    for no stage, which the service does not.
    """

    @pytest.fixture
    def moto(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Secrets]:
        import botocore.session
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_REGION": "eu-west-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield Secrets(botocore.session.Session().create_client("secretsmanager", region_name="eu-west-1"))
        server.stop()

    def test_stages_move_as_they_do_with_the_first(self, moto: Secrets) -> None:
        backend = SecretsManager(session=new_session())
        name, first = moto.put("first")
        place = ref(f"aws:{name}")
        second = backend.write(place, secret("second"), expected_version=first, timeout=SECONDS)
        assert moto.stages(name) == {first: ["AWSPREVIOUS"], second: ["ASTRO_TOKEN", "AWSCURRENT"]}
        assert read(backend, f"aws:{name}?stage=AWSCURRENT") == secret("second")
        error = error_of(
            lambda: backend.write(place, secret("third"), expected_version=first, timeout=SECONDS)
        )
        assert type(error) is BackendUnavailableError
        assert read(backend, f"aws:{name}?stage=AWSCURRENT").version == second


def test_debug_logging_shows_neither_value_nor_key(
    environment: MiniStack, secrets: Secrets, canary: str, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    from astro_token.testing import appearances
    from tests.backends.clouds import logged

    name, _ = secrets.put(make_token())
    caplog.set_level(logging.DEBUG)
    backend = open_backend("aws")
    backend.write(ref(f"aws:{name}"), secret(canary), expected_version=None, timeout=SECONDS)
    assert read(backend, f"aws:{name}") == secret(canary)
    error_of(lambda: read(backend, MISSING), canary)
    text = logged(caplog)
    assert [appearances(one, text) for one in (canary, environment.secret_key)] == [[], []]
