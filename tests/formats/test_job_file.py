"""Files of a job that its system names: links and misleading folders are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from astro_token.ci.formats import render
from astro_token.errors import OutputError
from astro_token.formats.delivery import refuse_destination
from astro_token.formats.rendering import Variables
from tests.formats.consumers import NAME

if TYPE_CHECKING:
    from pathlib import Path

Environ = dict[str, str]


def github(folder: Path, file: Path) -> Environ:
    workspace = folder / "work" / "project" / "project"
    return {
        "RUNNER_TEMP": str(folder / "work" / "_temp"),
        "GITHUB_WORKSPACE": str(workspace),
        "GITHUB_ENV": str(file),
    }


def gitlab(folder: Path, file: Path) -> Environ:
    return {"CI_PROJECT_DIR": str(folder / "work" / "project" / "project"), "GITLAB_ENV": str(file)}


def circleci(folder: Path, file: Path) -> Environ:
    return {"CIRCLE_WORKING_DIRECTORY": str(folder / "work" / "project" / "project"), "BASH_ENV": str(file)}


SYSTEMS = {"github": github, "gitlab-env": gitlab, "circleci": circleci}
systems = pytest.mark.parametrize("form", SYSTEMS)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "work" / "project" / "project"
    folder.mkdir(parents=True)
    (tmp_path / "work" / "_temp").mkdir()
    return folder


def placed(form: str, environ: Environ) -> None:
    refuse_destination(render(form, Variables({NAME: "x"}, environ=environ)), {})


@systems
def test_a_file_in_the_systems_own_folder_is_taken(form: str, tmp_path: Path, checkout: Path) -> None:
    file = checkout.parents[1] / "_temp" / "file"
    file.touch()
    placed(form, SYSTEMS[form](tmp_path, file))


@systems
def test_a_link_on_the_way_that_leads_into_the_checkout_is_refused(
    form: str, tmp_path: Path, checkout: Path
) -> None:
    (checkout / "file").touch()
    link = checkout.parents[1] / "_temp" / "link"
    link.symlink_to(checkout)
    with pytest.raises(
        OutputError, match=r"leads through a link to another folder: .* keeps no such file there"
    ):
        placed(form, SYSTEMS[form](tmp_path, link / "file"))


@systems
def test_a_checkout_that_is_named_by_a_link_is_known(form: str, tmp_path: Path, checkout: Path) -> None:
    """As /home/runner may be one to another disk."""
    (checkout / "_temp").mkdir()
    file = checkout / "_temp" / "file"
    file.touch()
    other = tmp_path / "other"
    other.mkdir()
    (other / "work").symlink_to(tmp_path / "work")
    environ = SYSTEMS[form](other, file)
    if form == "github":  # which has its own folder in there, if that is said by another name
        environ["RUNNER_TEMP"] = str(tmp_path / "work")
    with pytest.raises(OutputError, match="keeps no such file"):
        placed(form, environ)


def test_a_link_out_of_githubs_own_folder_is_refused(tmp_path: Path, checkout: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    link = checkout.parents[1] / "_temp" / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="GITHUB_ENV leads through a link"):
        placed("github", github(tmp_path, link / "file"))


def test_githubs_own_folder_may_be_reached_by_a_link(tmp_path: Path, checkout: Path) -> None:
    (checkout.parents[1] / "_temp" / "file").touch()
    (tmp_path / "temp").symlink_to(checkout.parents[1] / "_temp")
    file = tmp_path / "temp" / "file"
    placed("github", {**github(tmp_path, file), "RUNNER_TEMP": str(tmp_path / "temp")})


@pytest.mark.parametrize("temporary", ["work/project/project", "work/project", "work"])
def test_a_temporary_folder_that_is_said_to_hold_the_checkout_opens_nothing(
    tmp_path: Path, checkout: Path, temporary: str
) -> None:
    (checkout / "file").touch()
    environ = github(tmp_path, checkout / "file") | {"RUNNER_TEMP": str(tmp_path / temporary)}
    with pytest.raises(OutputError, match=r"GITHUB_ENV names .* but the runner keeps no such file there"):
        placed("github", environ)


@systems
def test_links_in_a_ring_are_no_bug_of_ours(form: str, tmp_path: Path, checkout: Path) -> None:
    ring = tmp_path / "ring"
    ring.symlink_to(ring)
    file = checkout.parents[1] / "_temp" / "file"
    file.touch()
    environ = SYSTEMS[form](tmp_path, file)
    changed = {name: str(ring) for name in environ if name.endswith(("WORKSPACE", "_DIR", "_DIRECTORY"))}
    assert 1 == len(changed)
    placed(form, environ | changed)
