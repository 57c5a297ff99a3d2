"""Whole rotations of real secrets with the strict Astro API, undisturbed and with every request cut."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.astro_api import AstroApi
from astro_token.astro_api.tokens import NewRole
from astro_token.errors import (
    AccessDeniedError,
    AstroTokenError,
    BackendUnavailableError,
    ConfigError,
    InvalidTokenError,
)
from astro_token.lifecycle import perform, stored
from astro_token.lifecycle.effects import RotationRecord
from astro_token.lifecycle.protocol import LEASE_SECONDS
from astro_token.record import replace
from astro_token.secrets.registry import close_backends
from astro_token.testing import appearances
from astro_token.tokens.write import write_secret
from tests.lifecycle.conftest import KINDS
from tests.lifecycle.scene import CREATE, PLAN, PLANNED, Scene, Watcher, check_requests, ident_of, sweep
from tests.servers.astro_api import DEPLOYMENT, WORKSPACE
from tests.servers.astro_requests import utc_now

if TYPE_CHECKING:
    from astro_token.lifecycle.protocol import Plan
    from astro_token.secret import SecretValue
    from astro_token.secrets.ref import SecretRef
    from tests.servers.faults import Mode

ROWS = {
    "file": "`file`",
    "kv2": "`vault`, KV 2",
    "kv1": "`vault`, KV 1",
    "file-transit": "`file`, with `vault-transit`",
    "kv2-transit": "`vault`, KV 2, with `vault-transit`",
}
each_kind = pytest.mark.parametrize("scene", KINDS, indirect=True)


def kinds(*names: str) -> pytest.MarkDecorator:
    """All kinds, of which the ordinary run has these."""
    marked = [name if name in names else pytest.param(name, marks=pytest.mark.long) for name in KINDS]
    return pytest.mark.parametrize("scene", marked, indirect=True)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "_PROPAGATION_PAUSE", 0.1)


@each_kind
def test_a_rotation_replaces_the_value_alone(scene: Scene) -> None:
    first = scene.begin()
    assert "done" == scene.run()
    current = scene.current
    assert (True, True) == (current != first, scene.works)
    assert ({ident_of(current)}, RotationRecord()) == (scene.left, scene.record)
    assert scene.server.tokens[ident_of(current)]["name"].startswith("deploy~")
    assert [] == scene.outages
    if scene.settings.ref.scheme == "vault":
        fields = json.loads(str(scene.store.read(scene.settings.ref)))
        assert ({"token", "user"}, "etl") == (set(fields), fields["user"])


@pytest.mark.parametrize(("scene", "row"), ROWS.items(), indirect=["scene"])
def test_the_requests_are_those_in_the_docs(scene: Scene, row: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_requests(scene, row, monkeypatch)


def test_a_token_can_manage_itself(scene: Scene) -> None:
    owner = NewRole("WORKSPACE_OWNER", "workspace", WORKSPACE)
    scene.planned = replace(PLANNED, roles=(owner,))
    scene.run(CREATE)
    first = scene.current
    scene.admin = str(first)
    assert "done" == scene.run(replace(PLAN, is_own_bearer=True))
    assert scene.current != first
    assert ({ident_of(scene.current)}, RotationRecord(), []) == (scene.left, scene.record, scene.outages)


@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_a_new_token_that_somebody_deletes_is_replaced_by_the_previous_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perform, "PROPAGATION_SECONDS", 0.2)
    first = scene.begin()
    plan = replace(PLAN, grace=3600.0)
    scene.run(plan)
    ident = ident_of(scene.current)
    scene.server.expel(ident)
    del scene.server.tokens[ident]
    assert "idle" == scene.run(replace(plan, begins=False))
    assert (first, {ident_of(first)}, RotationRecord()) == (scene.current, scene.left, scene.record)


@kinds("kv2", "file-transit")
def test_a_first_token_is_created(scene: Scene) -> None:
    assert "done" == scene.run(CREATE)
    assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
    assert scene.works
    first = ident_of(scene.current)
    assert "done" == scene.run(CREATE)
    assert {first, ident_of(scene.current)} == scene.left


@kinds("file", "kv1")
def test_the_previous_token_works_for_the_grace_period(scene: Scene) -> None:
    first = scene.begin()
    plan = replace(PLAN, grace=3600.0)
    assert "grace" == scene.run(plan)
    second = scene.current
    assert {ident_of(first), ident_of(second)} == scene.left
    assert ident_of(first) == scene.record.previous.id
    assert "grace" == scene.run(plan)
    scene.later = 3601
    assert "done" == scene.run(plan)
    assert (second, {ident_of(second)}, RotationRecord()) == (scene.current, scene.left, scene.record)


def test_a_previous_token_that_is_used_is_kept(scene: Scene) -> None:
    scene.begin()
    plan = replace(PLAN, grace=3600.0)
    scene.run(plan)
    scene.server.tokens[scene.record.previous.id]["lastUsedAt"] = "2100-01-01T00:00:00Z"
    scene.later = 3601
    assert "used" == scene.run(plan)
    assert 2 == len(scene.left)


def test_a_use_at_the_time_of_the_promotion_does_not_count(scene: Scene) -> None:
    """By the clock of Astro, which may differ, and also the rotation itself uses the token before."""
    scene.begin()
    plan = replace(PLAN, grace=3600.0)
    scene.run(plan)
    scene.server.tokens[scene.record.previous.id]["lastUsedAt"] = utc_now(100)
    scene.later = 3601
    assert "done" == scene.run(plan)
    assert 1 == len(scene.left)


@kinds("file", "kv2-transit")
def test_no_value_reaches_a_log_or_is_stored_in_clear_text(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    first = scene.begin()
    with caplog.at_level(logging.DEBUG):
        scene.run(replace(PLAN, grace=3600.0))
    record = str(scene.store.read(scene.record_ref))
    values = (first, str(scene.current), scene.admin)
    assert [] == [form for value in values for form in appearances(value, caplog.text)]
    if scene.settings.decrypt is not None:
        assert [] == [form for value in values for form in appearances(value, record)]
    assert [] == appearances(scene.admin, record)


# -- consumers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_a_watcher_never_fails_while_astro_needs_time(scene: Scene) -> None:
    scene.begin()
    scene.server.propagation = 2.0
    plan = replace(PLAN, grace=3600.0)
    with Watcher(scene) as watcher:
        assert "grace" == scene.run(plan)
        scene.later = 3601
        assert "done" == scene.run(plan)
    assert watcher.uses > 10
    assert 0 == watcher.failures
    assert scene.requests.count("POST /v1/organizations/clorganization0000000001/tokens") == 0


# -- cuts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_some_cuts_lose_nothing(scene: Scene) -> None:
    assert sweep(scene, PLAN, every=11) > 1


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("plan", [PLAN, CREATE], ids=["rotate", "create"])
@each_kind
def test_every_cut_loses_nothing(scene: Scene, plan: Plan) -> None:
    assert sweep(scene, plan) >= 8


# -- pauses -------------------------------------------------------------------------------------------


def check_pauses(scene: Scene, *, every: int = 1) -> int:
    """Pause a run before each request, beyond its lease, while another one rotates."""
    scene.begin()
    scene.run()
    numbers = range(1, len(scene.requests) + 1, every)
    for number in numbers:
        outcomes: list[str] = []

        def rotate(_: int, outcomes: list[str] = outcomes) -> Mode:
            scene.modes.clear()
            scene.later += LEASE_SECONDS + 1
            outcomes.append(scene.run_beside())
            return "pass"

        with suppress(AstroTokenError):
            outcomes.append(scene.run(modes={number: rotate}))
        assert outcomes[0] in {"done", "busy"}
        scene.finish()
        assert [] == scene.outages
        assert scene.works
        assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
    return len(numbers)


@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_some_pauses_beyond_the_lease_lose_nothing(scene: Scene) -> None:
    assert check_pauses(scene, every=7) > 1


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scene", ["file", "kv2", "file-transit", "kv2-transit"], indirect=True)
def test_every_pause_beyond_the_lease_loses_nothing(scene: Scene) -> None:
    assert check_pauses(scene) >= 7


# -- two at once --------------------------------------------------------------------------------------


def race(scene: Scene) -> list[str]:
    close_backends()
    barrier = threading.Barrier(2)
    # One that reads after the other one has finished would begin another rotation.
    plan = replace(PLAN, replaces=ident_of(scene.current))
    outcomes: list[str] = []

    def run() -> None:
        with AstroApi({"ASTRO_TOKEN_API_URL": scene.astro.url}) as api:
            performer = scene.performer(api)
            barrier.wait()
            outcomes.append(performer.run(scene.protocol(plan, performer)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(outcomes)


@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_of_two_rotators_one_wins(scene: Scene) -> None:
    scene.begin()
    assert ["busy", "done"] == race(scene)
    assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
    assert [] == scene.outages


@pytest.mark.long
@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_of_two_rotators_one_wins_100_times(scene: Scene) -> None:
    scene.begin()
    for _ in range(100):
        assert ["busy", "done"] == race(scene)
        assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)
    assert [] == scene.outages


# -- refusals -----------------------------------------------------------------------------------------


def test_a_role_that_does_not_exist_leaves_nothing_open(scene: Scene) -> None:
    first = scene.begin()
    scene.planned = replace(PLANNED, roles=(replace(PLANNED.roles[0], role="WORKSPACE_KING"),))
    with pytest.raises(ConfigError):
        scene.run()
    assert (first, {ident_of(first)}, RotationRecord()) == (scene.current, scene.left, scene.record)
    scene.planned = PLANNED
    assert "done" == scene.run()


@pytest.mark.parametrize(("padding", "is_refused"), [(500, False), (1000, True)])
def test_a_record_that_will_be_too_long_is_refused_before_a_token_exists(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, padding: int, is_refused: bool
) -> None:
    """A service that stores 4 KiB at most, such as a standard parameter."""
    longest = 0

    def write(ref: SecretRef, content: SecretValue, *rest: Any, **options: Any) -> str:
        nonlocal longest
        longest = max(longest, len(content.reveal()))
        if longest > 4096:
            raise InvalidTokenError("the value is too long", hint="store less")
        return write_secret(ref, content, *rest, **options)

    monkeypatch.setattr(stored, "write_secret", write)
    first = scene.begin(padding="x" * padding)
    if is_refused:
        with pytest.raises(ConfigError, match="the value is too long; the record of a rotation may need"):
            scene.run()
        assert (first, {ident_of(first)}, RotationRecord()) == (scene.current, scene.left, scene.record)
        assert not [line for line in scene.requests if line.startswith("POST")]
    else:
        assert "done" == scene.run()


def test_a_token_without_all_its_roles_is_deleted(scene: Scene) -> None:
    first = scene.begin()
    dag = NewRole("DAG_KING", "dag", "my_dag", DEPLOYMENT)
    scene.planned = replace(PLANNED, roles=(*PLANNED.roles, dag))
    with pytest.raises(ConfigError):
        scene.run()
    assert (first, {ident_of(first)}, RotationRecord()) == (scene.current, scene.left, scene.record)


def test_all_roles_of_the_new_token_are_set_and_compared(scene: Scene) -> None:
    scene.begin()
    dag = NewRole("DAG_AUTHOR", "dag", "my_dag", DEPLOYMENT)
    scene.planned = replace(PLANNED, roles=(*PLANNED.roles, dag))
    assert "done" == scene.run()
    roles = scene.server.tokens[ident_of(scene.current)]["roles"]
    assert ["WORKSPACE_AUTHOR", "DAG_AUTHOR"] == [role["role"] for role in roles]


def test_an_admin_that_may_not_manage_tokens_changes_nothing(scene: Scene) -> None:
    first = scene.begin()
    scene.admin = scene.server.issue(ws=None)
    with pytest.raises(AccessDeniedError):
        scene.run()
    assert (first, True) == (scene.current, scene.works)
    assert scene.record.pending is scene.record.previous is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_astro_is_tried_again_in_the_same_run(scene: Scene, status: int) -> None:
    scene.begin()
    scene.run()
    create = 1 + next(i for i, line in enumerate(scene.requests) if line.startswith("POST"))
    assert "done" == scene.run(modes={create: status})
    assert ({ident_of(scene.current)}, RotationRecord()) == (scene.left, scene.record)


def test_an_astro_that_stays_down_is_reported_as_unavailable(scene: Scene) -> None:
    first = scene.begin()
    modes: dict[int, Mode] = dict.fromkeys(range(1, 200), 503)
    with pytest.raises(BackendUnavailableError):
        scene.run(modes=modes, seconds=3.0)
    assert (first, {ident_of(first)}) == (scene.current, scene.left)
