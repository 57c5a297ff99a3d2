"""The rotation function of AWS Secrets Manager, with a strict service, undisturbed, cut and killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import uuid
import zipfile
from bisect import bisect_left
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.lifecycle import aws_rotation, perform, protocol
from astro_token.lifecycle.aws_rotation import AwsRotationError, rotate
from astro_token.lifecycle.effects import RotationRecord
from astro_token.secrets.ref import SecretRef
from astro_token.settings.resolve import TokenSettings
from astro_token.testing import appearances
from tests.backends.aws import service as aws
from tests.conftest import ROOT
from tests.lifecycle.rotated import Context
from tests.lifecycle.scene import PLAN, Scene, SecretsManager, ident_of
from tests.servers.aws_kms import AwsKms
from tests.servers.aws_secrets import CURRENT, PENDING, AwsSecrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.servers.astro_api import AstroApi
    from tests.servers.ministack import MiniStack

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
NAME = "astro/prod"
EMPTY = '{"format": 1}'
BARE = (getattr(sys, "_base_executable", sys.executable), "-S", "-s")  # Python without other packages
LEASE_SECONDS = 0.2  # the next call waits for its end
FAULTS = ("reset", "lose-answer", "killed-before", "killed-after")


class Strict:
    """The strict service as a store of `Scene`; the value has another field."""

    def __init__(self, service: AwsSecrets) -> None:
        self.service = service

    def read(self, ref: SecretRef) -> str | None:
        return self.service.read(NAME + "-rotation" * ref.name.endswith("-rotation"))

    def write(self, ref: SecretRef, text: str) -> None:
        self.service.put(NAME, json.dumps({"token": text, "owner": "team"}))

    def remove(self, ref: SecretRef) -> None:
        raise NotImplementedError


class Function:
    """
    The function, and AWS that calls it.

    Attributes:
        version: of the request.
    """

    def __init__(self, scene: Scene, service: AwsSecrets) -> None:
        self.scene, self.service = scene, service
        self.version = ""

    def begin(self) -> None:
        self.version = self.service.rotate(NAME)

    def event(self, step: str) -> dict[str, str]:
        name = self.scene.settings.ref.name
        return {"Step": step, "SecretId": name, "ClientRequestToken": self.version}

    def step(self, name: str, seconds: float = 170.0) -> None:
        rotate(self.event(name), Context(seconds))

    def rotate(self, call: Callable[[dict[str, str]], bool] | None = None) -> int:
        """One whole rotation as AWS does it: after a failure again from the first step."""
        for attempt in range(8):
            # The same request again, unless the function has ended it.
            if not attempt or PENDING not in self.service.secrets[NAME].own(self.version):
                self.begin()
            if all((call or self.succeeds)(self.event(step)) for step in STEPS):
                assert self.service.is_rotated(NAME, self.version)
                return attempt
        raise AssertionError("it does not end")

    def succeeds(self, event: dict[str, str]) -> bool:
        try:
            rotate(event, Context())
        except AwsRotationError:
            return False
        return True

    def failure(self, step: str, **changes: Any) -> str:
        with pytest.raises(AwsRotationError) as raised:
            rotate({**self.event(step), **changes}, Context())
        assert (None, None) == (raised.value.__cause__, raised.value.__context__)
        return str(raised.value)

    def staged(self) -> str | None:
        text = self.service.secrets[NAME].versions[self.version]
        return str(json.loads(text)["token"]) if text else None


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "_PROPAGATION_PAUSE", 0.1)
    monkeypatch.setattr(protocol, "LEASE_SECONDS", LEASE_SECONDS)


@pytest.fixture(autouse=True)
def one_login(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of the function logs in anew, which takes time."""
    if "fresh_logins" not in request.fixturenames:
        monkeypatch.setattr(aws_rotation, "close_backends", lambda: None)


@pytest.fixture
def fresh_logins() -> None:
    """As in production."""


@pytest.fixture
def service() -> Iterator[AwsSecrets]:
    with AwsSecrets() as service:
        yield service


@pytest.fixture
def scene(
    service: AwsSecrets, astro_api: AstroApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Scene]:
    monkeypatch.chdir(tmp_path)  # each call searches the folder for Terraform's files
    arn = service.create(NAME, "{}")
    service.create(f"{NAME}-rotation", EMPTY)
    scene = Scene(astro_api, TokenSettings(SecretRef("aws", arn)), Strict(service), service.url)
    assert scene.service
    variables = {
        **service.environment(),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": scene.service.url,
        "ASTRO_TOKEN_API_URL": scene.astro.url,
        "ASTRO_TOKEN_ADMIN_REF": "env:MANAGES",
        "MANAGES": scene.admin,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    scene.begin()
    yield scene
    scene.close()


@pytest.fixture
def function(scene: Scene, service: AwsSecrets) -> Function:
    return Function(scene, service)


# -- undisturbed -------------------------------------------------------------------------------------------


def test_four_steps_replace_the_value_alone(
    fresh_logins: None,
    function: Function,
    scene: Scene,
    service: AwsSecrets,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = str(scene.current)
    function.begin()
    with caplog.at_level(logging.DEBUG):
        function.step("createSecret")
        assert (first, True) == (scene.current, function.staged() not in {None, first})
        function.step("setSecret")
        function.step("testSecret")
        assert (first, [PENDING]) == (scene.current, service.secrets[NAME].own(function.version))
        function.step("finishSecret")
    new = scene.current
    assert (function.staged(), "team") == (new, json.loads(str(service.read(NAME)))["owner"])
    assert function.version == service.secrets[NAME].stages[CURRENT]
    assert {ident_of(first), ident_of(new)} == scene.left
    assert (None, ident_of(first)) == (scene.record.pending, scene.record.previous.id)
    assert ([], True) == (scene.outages, scene.works)
    values = (first, str(new), scene.admin)
    assert [] == [form for value in values for form in appearances(value, caplog.text)]


# What docs/rotate-aws-function.md allows the function.
ALLOWED = {
    NAME: {"DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"},
    f"{NAME}-rotation": {"GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"},
}


def test_the_permissions_are_the_least(function: Function, service: AwsSecrets) -> None:
    function.rotate()
    used = {name: {action for action, of in service.actions if of == name} for name in ALLOWED}
    assert ALLOWED == used


def test_every_step_can_be_repeated(function: Function, scene: Scene) -> None:
    first = str(scene.current)
    function.begin()
    for number in range(len(STEPS)):
        for step in (*STEPS[: number + 1], *STEPS[: number + 1]):
            function.step(step)
    assert {ident_of(first), ident_of(scene.current)} == scene.left
    assert ([], None) == (scene.outages, scene.record.pending)
    assert 1 == sum(
        "POST" in line and line.endswith("/tokens") for line in scene.requests
    )  # one token was created


def test_the_next_rotation_revokes_the_previous_token(
    function: Function, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASTRO_TOKEN_GRACE", "0s")
    first = ident_of(scene.current)
    function.rotate()
    second = ident_of(scene.current)
    function.rotate()
    assert {second, ident_of(scene.current)} == scene.left
    assert first not in scene.left


def test_a_rotation_waits_for_the_grace_period(function: Function, scene: Scene) -> None:
    function.rotate()
    current = scene.current
    function.begin()
    message = function.failure("createSecret")
    assert message.startswith("the previous token is in its grace period until 20")
    assert message.endswith("(exit code 80)")
    assert (current, 2) == (scene.current, len(scene.left))


def test_another_command_finishes(function: Function, scene: Scene) -> None:
    function.rotate()
    scene.later = 25 * 3600
    assert "done" == scene.run(PLAN)
    assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)


def test_ciphertext_stays_ciphertext(
    function: Function, scene: Scene, service: AwsSecrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with AwsKms() as kms:
        key = kms.create_key()
        endpoint = kms.environment()["AWS_ENDPOINT_URL_KMS"]
        monkeypatch.setattr(kms, "_user", service._user)
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", endpoint)
        first = str(scene.current)
        from astro_token.secrets.registry import open_backend
        from astro_token.settings.resolve import Settings
        from astro_token.token import AstroToken
        from astro_token.tokens.write import content_with, read_current
        from astro_token.transport.deadline import Deadline

        monkeypatch.setenv("ASTRO_TOKEN_DECRYPT", f"aws-kms:{key}")
        ref = scene.settings.ref
        settings, deadline = Settings([ref]).token(ref), Deadline(10)
        secret = read_current(ref, deadline)
        token = AstroToken.parse(aws.secret(first))
        service.put(NAME, content_with(settings, token, secret, deadline).reveal().decode())
        service.put(f"{NAME}-rotation", _encrypted(open_backend("aws-kms"), settings.decrypt))
        monkeypatch.setattr(Scene, "works", True)  # the store holds ciphertext
        function.begin()
        for step in STEPS:
            function.step(step)
            function.step(step)
        assert function.version == service.secrets[NAME].stages[CURRENT]
        assert 2 == len(scene.left)
        for text in (
            *service.secrets[NAME].versions.values(),
            *service.secrets[f"{NAME}-rotation"].versions.values(),
        ):
            if text and first not in text:
                assert "eyJhbGciOi" not in text


def _encrypted(kms: Any, key: SecretRef | None) -> str:
    import base64

    return base64.b64encode(kms.encrypt(key, aws.secret(EMPTY), timeout=5)).decode()


# -- out of order ------------------------------------------------------------------------------------------


def test_a_step_before_the_first_one_changes_nothing(function: Function, scene: Scene) -> None:
    first = scene.current
    function.begin()
    for step in STEPS[1:]:
        assert "createSecret has not been done" in function.failure(step)
    assert (first, 1, RotationRecord()) == (scene.current, len(scene.left), scene.record)
    assert 0 == function.rotate()


def test_finishing_without_a_test_verifies(function: Function, scene: Scene) -> None:
    function.begin()
    function.step("createSecret")
    function.step("finishSecret")
    assert function.staged() == scene.current


def test_a_step_of_a_finished_request_does_nothing(function: Function, scene: Scene) -> None:
    function.rotate()
    scene.requests = []
    for step in STEPS[:3]:
        function.step(step)
    assert (0, True) == (scene.counts()[0], len(scene.requests) <= 4)


WRONG: list[tuple[dict[str, str | None], str]] = [
    ({"ClientRequestToken": str(uuid.uuid4())}, "no version of this request"),
    ({"ClientRequestToken": "x"}, "not that of a rotation"),
    ({"SecretId": None}, "not that of a rotation"),
    ({"Step": "dropSecret"}, "names no step"),
    ({"SecretId": "astro/none"}, "does not exist"),
]


def test_a_wrong_event_is_refused(function: Function, scene: Scene) -> None:
    function.begin()
    for changes, message in WRONG:
        assert message in function.failure("createSecret", **changes)
    assert (1, RotationRecord()) == (len(scene.left), scene.record)


def test_a_version_that_is_not_pending_is_refused(function: Function, service: AwsSecrets) -> None:
    function.begin()
    del service.secrets[NAME].stages[PENDING]
    service.secrets[NAME].stages["other"] = function.version
    assert "is not pending" in function.failure("createSecret")


def test_a_secret_without_rotation_is_refused(function: Function, service: AwsSecrets) -> None:
    function.begin()
    service.secrets[NAME].is_rotated = False
    assert "rotation is not enabled" in function.failure("createSecret")


def test_a_malformed_grace_period_is_refused(
    function: Function, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    function.begin()
    for grace in ("soon", "1", "-1h"):
        monkeypatch.setenv("ASTRO_TOKEN_GRACE", grace)
        assert "ASTRO_TOKEN_GRACE is not a duration" in function.failure("createSecret")
    assert 1 == len(scene.left)


def test_a_short_time_is_refused(function: Function, scene: Scene) -> None:
    function.begin()
    with pytest.raises(AwsRotationError, match="too little time"):
        function.step("createSecret", 20)
    assert [] == scene.requests


# -- what others do meanwhile ------------------------------------------------------------------------------


def test_a_field_that_somebody_changes_meanwhile_is_kept(
    function: Function, scene: Scene, service: AwsSecrets
) -> None:
    function.begin()
    function.step("createSecret")
    service.put(NAME, json.dumps({"token": scene.current, "owner": "other"}))
    for step in STEPS[1:]:
        function.step(step)
    content = json.loads(str(service.read(NAME)))
    assert (function.staged(), "other") == (content["token"], content["owner"])
    assert service.is_rotated(NAME, function.version)
    assert 2 == len(scene.left)


def test_a_command_that_promotes_meanwhile_is_no_failure(function: Function, scene: Scene) -> None:
    function.begin()
    function.step("createSecret")
    assert "done" == scene.run(PLAN)
    for step in STEPS[1:]:
        function.step(step)
    assert (function.staged(), {ident_of(scene.current)}) == (scene.current, scene.left)
    assert function.service.is_rotated(NAME, function.version)


@pytest.mark.parametrize("step", ["testSecret", "finishSecret", "createSecret"])
def test_a_new_token_that_somebody_deletes_ends_the_request(
    function: Function, scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(perform, "PROPAGATION_SECONDS", 0.2)
    first = scene.current
    function.begin()
    function.step("createSecret")
    ident = scene.record.pending.id
    scene.server.expel(ident)
    del scene.server.tokens[ident]
    if step == "createSecret":  # after `rotate --finish` has dropped the token
        function.succeeds(function.event("testSecret"))
        function.service.secrets[NAME].stages[PENDING] = function.version
    assert "was dropped" in function.failure(step)
    assert (first, {ident_of(first)}, RotationRecord()) == (scene.current, scene.left, scene.record)
    before = function.version
    function.rotate()
    assert (True, function.staged()) == (before != function.version, scene.current)


def test_a_request_adopts_the_token_of_an_older_one(
    function: Function, scene: Scene, service: AwsSecrets
) -> None:
    function.begin()
    function.step("createSecret")
    pending = scene.record.pending.id
    del service.secrets[NAME].stages[PENDING]  # a person cancels the rotation
    assert 0 == function.rotate()
    assert (pending, 2) == (ident_of(scene.current), len(scene.left))


def test_a_wrong_admin_changes_nothing(
    function: Function, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = scene.server.issue(ws=None)
    monkeypatch.setenv("MANAGES", value)
    before = scene.left
    function.begin()
    message = function.failure("createSecret")
    assert ("(exit code 77)" in message, []) == (True, appearances(value, message))
    assert before == scene.left


def test_a_bug_shows_its_type_and_no_value(
    function: Function, monkeypatch: pytest.MonkeyPatch, canary: str
) -> None:
    def broken(*_: object) -> None:
        raise ValueError(canary)

    monkeypatch.setattr(aws_rotation, "_perform", broken)
    message = function.failure("createSecret")
    assert "a bug in astro-token: ValueError (exit code 70)" == message


# -- cuts and kills ----------------------------------------------------------------------------------------


@contextmanager
def called(
    scene: Scene,
    python: Sequence[str] = (sys.executable,),
    path: str = os.pathsep.join(filter(None, sys.path)),
) -> Iterator[Callable[[dict[str, str]], bool]]:
    """Call the function in a child. `killed` modes kill it."""
    with subprocess.Popen(
        [*python, str(Path(__file__).with_name("rotated.py"))],
        env={**os.environ, "TEST_LEASE_SECONDS": str(LEASE_SECONDS), "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def call(event: dict[str, str]) -> bool:
            print(json.dumps(event), file=stdin, flush=True)
            child = int(stdout.readline())

            def kill(mode: str) -> Callable[[int], Any]:
                def killed(_: int) -> Any:
                    os.kill(child, signal.SIGKILL)
                    return "reset" if mode == "killed-before" else "lose-answer"

                return killed

            scene.modes = {
                number: kill(mode) if isinstance(mode, str) and mode.startswith("killed") else mode
                for number, mode in planned.items()
            }
            status = int(stdout.readline())
            scene.modes = {}
            call.kills += status == -signal.SIGKILL  # type: ignore[attr-defined]
            return status == 0

        planned: dict[int, Any] = {}
        call.planned, call.kills = planned, 0  # type: ignore[attr-defined]
        yield call
        stdin.close()


def sweep(
    function: Function,
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    *,
    faults: Sequence[str] = FAULTS,
    every: int = 1,
) -> int:
    """Disturb each request of a rotation, or some, in each of the ways."""
    monkeypatch.setenv("ASTRO_TOKEN_GRACE", "0s")
    monkeypatch.setenv("PATH", os.defpath)  # each of its folders is examined for each request
    scene.server.rates.clear()  # the calls of AWS are minutes apart
    starts: list[int] = []  # requests before each step

    def noted(event: dict[str, str]) -> bool:
        starts.append(len(scene.requests))
        return function.succeeds(event)

    with called(scene) as in_child:
        for _ in range(2):  # the first one has no previous token to revoke
            scene.requests = []
            starts.clear()
            function.rotate(noted)
        count = len(scene.requests)
        points = [(number, mode) for number in range(1, count + 1) for mode in faults][::every]
        repeated = 0
        for number, mode in points:
            first, scene.requests = scene.current, []
            is_kill = mode.startswith("killed")
            in_child.planned.clear()  # type: ignore[attr-defined]
            in_child.planned[number] = mode  # type: ignore[attr-defined]
            scene.modes = {} if is_kill else {number: mode}
            # A child starts slowly: only the step that is killed runs in one.
            calls: list[Callable[[dict[str, str]], bool]] = [function.succeeds] * len(starts)
            if is_kill:
                calls[bisect_left(starts, number) - 1] = in_child
            left = iter(calls)
            repeated += function.rotate(lambda event: next(left, function.succeeds)(event)) > 0  # noqa: B023 (called at once)
            previous, current = scene.record.previous.id, ident_of(scene.current)
            assert (True, None, []) == (scene.works, scene.record.pending, scene.outages), (number, mode)
            assert {previous, current} == scene.left, (number, mode)
            assert ident_of(first) == previous
    kills = sum(mode.startswith("killed") for _, mode in points)
    assert kills == in_child.kills  # type: ignore[attr-defined]
    print(
        f"{', '.join(faults)}: {count} requests, {len(points)} points, {kills} kills, {repeated} repeated, "
        f"{len(scene.outages)} outages"
    )
    return len(points)


def test_some_cuts_and_kills_lose_nothing(
    function: Function, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sweep(function, scene, monkeypatch, every=131) > 1


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_cut_and_kill_loses_nothing(
    function: Function, scene: Scene, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    assert sweep(function, scene, monkeypatch, faults=(fault,)) > 80


# -- the zip ----------------------------------------------------------------------------------------------

# Numbers of processors in the head of a program.
PROCESSORS = {"x86_64": 62, "arm64": 183}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_zip_runs_alone_and_is_the_same_from_every_build(
    function: Function, scene: Scene, tmp_path: Path
) -> None:
    zips = [tmp_path / f"{number}" for number in range(2)]
    for folder in zips:
        command = [
            "make",
            "--no-print-directory",
            "-o",
            ".venv-core/done",
            "rotation-function",
            f"DIST={folder}",
        ]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    for name, machine in PROCESSORS.items():
        first, again = (folder / f"astro-token-rotation-{name}.zip" for folder in zips)
        assert first.read_bytes() == again.read_bytes()
        assert first.stat().st_size < 10_000_000
        with zipfile.ZipFile(first) as archive:
            names = archive.namelist()
            compiled = [archive.read(each)[18] for each in names if each.endswith(".so")]
            assert {machine} == set(compiled)
            assert [] == [each for each in names if each.startswith(("boto3/", "rich/")) or ".pyc" in each]
            archive.extractall(tmp_path / name)
    with called(scene, BARE, str(tmp_path / "x86_64")) as call:
        assert 0 == function.rotate(call)
    assert function.staged() == scene.current


# -- MiniStack, with the policy of the documentation -------------------------------------------------------


def test_the_documented_policy_suffices(
    ministack: MiniStack, astro_api: AstroApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"astro/{uuid.uuid4().hex}"
    client = aws.client(ministack, "secretsmanager")
    scene = Scene(
        astro_api, TokenSettings(SecretRef("aws", name)), SecretsManager(client), ministack.endpoint
    )
    try:
        arn = _policy_of_the_page()
        key, secret = ministack.user(*arn(name))
        variables = {
            **ministack.environment(),
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "ASTRO_TOKEN_API_URL": astro_api.url,
            "ASTRO_TOKEN_ADMIN_REF": "env:MANAGES",
            "MANAGES": scene.admin,
        }
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        first = scene.begin()
        scene.store.write(SecretRef("aws", f"{name}-rotation"), EMPTY)
        version = str(uuid.uuid4())
        full = client.describe_secret(SecretId=name)["ARN"]
        monkeypatch.setattr(aws_rotation._Version, "stages", lambda _: frozenset({PENDING}))
        for step in STEPS:
            rotate({"Step": step, "SecretId": full, "ClientRequestToken": version}, Context())
        new = client.get_secret_value(SecretId=name)
        assert (version, True) == (new["VersionId"], new["SecretString"] != first)
        assert {ident_of(first), ident_of(new["SecretString"])} == scene.left
    finally:
        scene.close()


def _policy_of_the_page() -> Callable[[str], list[dict[str, Any]]]:
    text = (ROOT / "docs" / "rotate-aws-function.md").read_text()
    statements = json.loads(text.split("```json\n")[1].split("```")[0])["Statement"]

    def of(name: str) -> list[dict[str, Any]]:
        content = json.dumps(statements[:2]).replace("astro/prod", name)
        return list(json.loads(content.replace("eu-west-1:111122223333", "*:*")))

    return of
