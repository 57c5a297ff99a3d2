"""Rotations in place: with every request cut, killed at calls of the system, and refused beforehand."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from astro_token.astro_api import AstroApi
from astro_token.lifecycle import escrowed, perform
from astro_token.lifecycle import rotate as rotate_module
from astro_token.lifecycle.effects import Intent, RotationRecord, Slot
from astro_token.lifecycle.escrow import Escrow
from astro_token.lifecycle.record import encode_record
from astro_token.lifecycle.rotate import RotationOptions, RotationReport, Rotator
from astro_token.record import replace
from astro_token.secret import SecretValue
from astro_token.secrets.registry import close_backends
from astro_token.system import files
from astro_token.testing import make_token
from astro_token.token import AstroToken
from astro_token.transport.deadline import Deadline
from tests.lifecycle.scene import CUTS, AgeFiles, Scene, ident_of
from tests.lifecycle.test_kill import IN_FLIGHT, killed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from astro_token.secrets.ref import SecretRef
    from tests.servers.faults import Mode

each_kind = pytest.mark.parametrize("scene", ["file", "kv2", "kv2-transit"], indirect=True)


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perform, "_PROPAGATION_PAUSE", 0.1)
    for module in (perform, escrowed, rotate_module):
        monkeypatch.setattr(module, "PROPAGATION_SECONDS", 0.3)


@pytest.fixture
def escrow(tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Path:
    if scene.settings.ref.scheme != "file":
        import pyrage

        monkeypatch.setenv("ASTRO_TOKEN_AGE_KEY", str(pyrage.x25519.Identity.generate()))
    return tmp_path / "prod.escrow.age"


def rotate(
    scene: Scene,
    path: Path,
    *,
    modes: Mapping[int, Mode] | None = None,
    seconds: float = 30.0,
    **options: Any,
) -> RotationReport:
    scene.modes, scene.requests = dict(modes or {}), []
    close_backends()
    admin = AstroToken.parse(SecretValue(scene.admin.encode()))
    with AstroApi({"ASTRO_TOKEN_API_URL": scene.astro.url}) as api:
        rotator = Rotator(api, admin, RotationOptions(escrow=path, **options))
        return rotator.rotate(replace(scene.settings, timeout=seconds))


def end_lease(scene: Scene) -> None:
    """Let the lease of a killed run be over."""
    record = scene.record
    if record.intent is None:
        return
    content = encode_record(replace(record, intent=replace(record.intent, until=time.time() - 1)))
    write(scene, scene.record_ref, content.reveal().decode())


def write(scene: Scene, ref: SecretRef, text: str) -> None:
    assert isinstance(scene.store, AgeFiles)
    scene.store.write(ref, text)


def check_end(scene: Scene, ident: str, path: Path) -> None:
    """The token is the same, its stored value works, and nothing is left."""
    assert (ident, True, False) == (ident_of(scene.current), scene.works, path.exists())
    assert ({ident}, RotationRecord()) == (scene.left, scene.record)
    assert [scene.current] == scene.server.values(ident)


@each_kind
def test_the_token_keeps_its_identifier(scene: Scene, escrow: Path) -> None:
    first = scene.begin()
    report = rotate(scene, escrow)
    assert (None, "rotated") == (report.error, report.outcome)
    assert first != scene.current
    check_end(scene, ident_of(first), escrow)
    if scene.settings.ref.scheme == "vault":
        fields = json.loads(str(scene.store.read(scene.settings.ref)))
        assert ({"token", "user"}, "etl") == (set(fields), fields["user"])


@pytest.mark.parametrize("scene", ["file"], indirect=True)
def test_the_filling_of_an_earlier_run_is_written_again(scene: Scene, escrow: Path) -> None:
    del scene  # for its keys
    assert Escrow(escrow, Deadline(5)).open() is None
    before = escrow.read_bytes()
    assert Escrow(escrow, Deadline(5)).open() is None
    assert before != escrow.read_bytes()


# -- cuts ---------------------------------------------------------------------------------------------


def sweep(scene: Scene, path: Path, *, every: int) -> int:
    """Cut requests, before and after each; the same command then completes the rotation."""
    ident = ident_of(scene.begin())
    rotate(scene, path)
    numbers = range(1, len(scene.requests) + 1)
    points = [(number, mode) for number in numbers for mode in CUTS][::every]
    for number, mode in points:
        report = rotate(scene, path, modes={number: mode})
        for _ in range(100):
            if report.error is None:
                break
            assert report.error.exit_code in {75, 81}, report.error.message
            time.sleep(0.2)  # until the lease is over
            report = rotate(scene, path)
        assert report.error is None
        check_end(scene, ident, path)
    return len(points)


@pytest.mark.parametrize("scene", ["file", "kv2"], indirect=True)
def test_some_cuts_lose_nothing(scene: Scene, escrow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escrowed, "LEASE_SECONDS", 0.5)
    assert sweep(scene, escrow, every=5) > 1


@pytest.mark.long
@pytest.mark.timeout(1800)
@each_kind
def test_every_cut_loses_nothing(scene: Scene, escrow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(escrowed, "LEASE_SECONDS", 0.5)
    assert sweep(scene, escrow, every=1) >= 6


# -- kills --------------------------------------------------------------------------------------------


def kill_sweep(scene: Scene, path: Path, *, first: int = 0, every: int = 1) -> tuple[int, set[str]]:
    """Kill the program at steps; return how many there were, and what the escrow file held then."""
    ident = ident_of(scene.begin())
    held: set[str] = set()
    arguments = ("rotate", "--in-place", "--escrow", str(path), str(scene.settings.ref))
    with killed(scene, *arguments) as run:
        for step in itertools.count(first, every):
            status = run(str(step))
            if status == "0":
                break
            assert "-9" == status
            time.sleep(IN_FLIGHT)
            held.add(content_of(scene, path))
            end_lease(scene)
            report = rotate(scene, path)
            assert report.error is None, report.error.message
            check_end(scene, ident, path)
    return (step - first) // every, held


def content_of(scene: Scene, path: Path) -> str:
    if not path.exists():
        return "nothing"
    assert isinstance(scene.store, AgeFiles)
    text = scene.store.read(replace(scene.settings.ref, name=str(path))) or ""
    return "filling" if not text.strip("-") else "value"


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_kill_loses_nothing(scene: Scene, escrow: Path) -> None:
    count, held = kill_sweep(scene, escrow)
    assert count > 100
    assert {"nothing", "filling", "value"} == held


def test_some_kills_lose_nothing(scene: Scene, escrow: Path) -> None:
    count, _ = kill_sweep(scene, escrow, first=30, every=150)
    assert count >= 1


def test_a_rotation_with_overlap_leaves_it_to_the_same_command(
    scene: Scene, escrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill right after the response of Astro: the value that is stored is not valid any more."""
    first = scene.begin()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Escrow, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            rotate(scene, escrow)
    intent = Intent(f"{escrowed._TITLE}~{uuid.uuid4()}", "killed", time.time() - 1)
    write(scene, scene.record_ref, encode_record(RotationRecord(intent=intent)).reveal().decode())
    assert not scene.works
    # Nothing proves any more that the stored value is one of this token.
    with AstroApi({"ASTRO_TOKEN_API_URL": scene.astro.url}) as api:
        admin = AstroToken.parse(SecretValue(scene.admin.encode()))
        error = Rotator(api, admin, RotationOptions()).rotate(scene.settings).error
    assert error is not None
    assert (81, True) == (error.exit_code, "a rotation in place was interrupted" in error.message)
    assert "rotated" == rotate(scene, escrow).outcome
    check_end(scene, ident_of(first), escrow)


def after_rotate(scene: Scene, path: Path) -> int:
    """The number of the first request after the rotation at Astro."""
    rotate(scene, path)
    return 2 + next(i for i, line in enumerate(scene.requests) if line.endswith("/rotate"))


# -- the backend, Astro and the disk ------------------------------------------------------------------


@pytest.mark.parametrize("scene", ["kv2"], indirect=True)
def test_a_backend_that_stays_down_needs_a_person_and_the_same_command(
    scene: Scene, escrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(escrowed, "LEASE_SECONDS", 2.0)
    ident = ident_of(scene.begin())
    number = after_rotate(scene, escrow)
    report = rotate(scene, escrow, modes=dict.fromkeys(range(number, number + 500), 503), seconds=3.0)
    assert report.error is not None
    assert (81, True) == (report.error.exit_code, escrow.exists())
    assert f"its new value is only in {escrow}: " in report.error.message
    command = f"run `astro-token rotate --in-place --escrow {escrow} {scene.settings.ref}`, which stores it"
    assert command.replace(str(scene.settings.ref), f"'{scene.settings.ref}'") in str(report.error.hint)
    assert 0o600 == escrow.stat().st_mode & 0o777
    assert not scene.works
    report = rotate(scene, escrow)
    assert (None, "finished") == (report.error, report.outcome)
    check_end(scene, ident, escrow)


def test_an_escrow_file_stays_until_astro_has_accepted_the_value(scene: Scene, escrow: Path) -> None:
    ident = ident_of(scene.begin())
    number = after_rotate(scene, escrow)
    report = rotate(scene, escrow, modes=dict.fromkeys(range(number, number + 500), 503), seconds=2.0)
    assert report.error is not None
    assert (81, True, True) == (report.error.exit_code, scene.works, escrow.exists())
    assert "the new value is stored, and could not be verified: " in report.error.message
    assert "finished" == rotate(scene, escrow).outcome
    check_end(scene, ident, escrow)


def test_a_full_disk_at_the_escrow_file_keeps_the_value_in_memory(
    scene: Scene, escrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ident = ident_of(scene.begin())
    fail_writes(monkeypatch, escrow, begin=1)
    report = rotate(scene, escrow)
    assert (None, "rotated") == (report.error, report.outcome)
    check_end(scene, ident, escrow)


def test_a_full_disk_before_the_rotation_changes_nothing(
    scene: Scene, escrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scene.begin()
    fail_writes(monkeypatch, escrow, begin=0)
    report = rotate(scene, escrow)
    assert report.error is not None
    assert (74, first, True) == (report.error.exit_code, scene.current, scene.works)
    check_end(scene, ident_of(first), escrow)


def fail_writes(monkeypatch: pytest.MonkeyPatch, path: Path, *, begin: int) -> None:
    """Let writing one file fail for want of space, after some times."""
    count = itertools.count()
    original = files._temporary

    def temporary(target: Path, data: bytes) -> Any:
        if target == path and next(count) >= begin:
            raise OSError(28, "No space left on device")
        return original(target, data)

    monkeypatch.setattr(files, "_temporary", temporary)


def test_a_refusal_of_astro_changes_nothing(scene: Scene, escrow: Path) -> None:
    first = scene.begin()
    number = after_rotate(scene, escrow) - 1
    report = rotate(scene, escrow, modes={number: 403})
    assert report.error is not None
    assert 77 == report.error.exit_code
    check_end(scene, ident_of(first), escrow)


def test_a_damaged_response_is_replaced_by_another_rotation(scene: Scene, escrow: Path) -> None:
    ident = ident_of(scene.begin())
    number = after_rotate(scene, escrow) - 1
    report = rotate(scene, escrow, modes={number: "cut-json"})
    assert (None, 2) == (report.error, sum(line.endswith("/rotate") for line in scene.requests))
    check_end(scene, ident, escrow)


@pytest.mark.parametrize("scene", ["kv2"], indirect=True)
def test_a_value_that_somebody_replaces_in_the_middle_is_left_alone(scene: Scene, escrow: Path) -> None:
    scene.begin()
    number = after_rotate(scene, escrow)
    other = scene.server.issue(token_id="clother")

    def replaced(_: int) -> Mode:
        scene.store.write(scene.settings.ref, other)
        return "pass"

    report = rotate(scene, escrow, modes={number: replaced})
    assert report.error is not None
    assert (81, other, True) == (report.error.exit_code, scene.current, escrow.exists())
    assert f"remove {escrow}" in str(report.error.hint)


# -- refusals -----------------------------------------------------------------------------------------


def test_an_escrow_file_that_is_not_its_own_is_refused(scene: Scene, escrow: Path) -> None:
    first, ident = scene.begin(), ""
    ident = ident_of(first)
    ref = replace(scene.settings.ref, name=str(escrow))

    def refusal() -> tuple[int, str]:
        report = rotate(scene, escrow)
        assert (first, {ident}, RotationRecord()) == (scene.current, scene.left, scene.record)
        assert report.error is not None
        return report.error.exit_code, report.error.message.removeprefix(f"{scene.settings.ref}: ")

    escrow.write_text("notes")
    assert (73, f"{escrow} exists, and is not a file that --escrow wrote") == refusal()
    assert "notes" == escrow.read_text()
    escrow.write_text(make_token(token_id=ident))  # not encrypted
    assert 73 == refusal()[0]
    write(scene, ref, "another secret")
    assert 73 == refusal()[0]
    write(scene, ref, make_token(token_id="clother"))
    assert (73, f"{escrow} contains another token") == refusal()
    write(scene, ref, make_token(token_id=ident))
    before = escrow.read_bytes()
    assert (81, f"Astro does not accept the value in {escrow}") == refusal()
    assert before == escrow.read_bytes()
    escrow.unlink()
    escrow.symlink_to(escrow.with_name("target"))
    assert (73, f"{escrow} is a link") == refusal()
    escrow.unlink()
    assert not escrow.with_name("target").exists()
    escrow.mkdir()
    assert (73, f"{escrow} is not a regular file") == refusal()


def test_the_tokens_own_file_is_no_escrow_file(scene: Scene) -> None:
    first = scene.begin()
    for ref in (scene.settings.ref, scene.record_ref):
        report = rotate(scene, Path(ref.name))
        assert report.error is not None
        assert (64, first) == (report.error.exit_code, scene.current)


def test_an_open_rotation_is_finished_first(scene: Scene, escrow: Path) -> None:
    first = scene.begin()
    slot = Slot("clprevious", SecretValue(make_token(token_id="clprevious").encode()))
    write(scene, scene.record_ref, encode_record(RotationRecord(previous=slot)).reveal().decode())
    report = rotate(scene, escrow)
    assert report.error is not None
    assert (80, first, False) == (report.error.exit_code, scene.current, escrow.exists())


def test_a_token_that_is_not_due_is_left_alone(scene: Scene, escrow: Path) -> None:
    from datetime import timedelta

    first = scene.begin()
    assert "idle" == rotate(scene, escrow, expires_within=timedelta(seconds=1)).outcome
    assert "planned" == rotate(scene, escrow, is_trial=True).outcome
    check_end(scene, ident_of(first), escrow)
    assert first == scene.current
