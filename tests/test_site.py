"""The documentation site: built without a warning, self-contained, and read in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from os.path import normpath
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_audit_html import colours
from tests.conftest import ROOT
from tests.formats.consumers import IN_CI, PATH, there

PROGRAM = ROOT / ".venv-docs" / "bin" / "mkdocs"
PARTS = ["Tutorials", "How-to guides", "Reference", "Explanation", "Project"]
# The background and the boxes of its largest part.
PICTURE = {"light": ((251, 246, 240), (253, 240, 227)), "dark": ((42, 37, 32), (70, 48, 31))}


# An HTML parser would take a second for all pages; the theme writes every attribute in quotes.
LOADED = re.compile(r'<(?:img|script|iframe|link|source|object)\b[^>]*?\s(?:src|href|data|srcset)="([^"]+)"')
LINK = re.compile(r'<a\b[^>]*?\shref="([^"]*)"')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not PROGRAM.exists() and not IN_CI:
        pytest.skip("`make .venv-docs/done` installs mkdocs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [str(PROGRAM), "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={"PATH": PATH, "NO_MKDOCS_2_WARNING": "1", "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    warnings = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert (0, [], "") == (done.returncode, warnings, done.stdout)
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for path in pages:
        loaded = LOADED.findall(path.read_text(encoding="utf-8"))
        assert len(loaded) > 3
        assert [] == [link for link in loaded if re.match(r"\w+:|//", link) and not link.startswith("data:")]
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert [] == re.findall(r"url\(\W?(?:https?:)?//[^)]*|@import[^;]*", styles)


def test_no_link_of_a_page_is_broken(site: Path) -> None:
    """mkdocs checks links of Markdown; here every link of the result is, navigation included."""
    pages = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    names = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    count = 0
    for path, text in pages.items():
        if path.name == "404.html":
            continue
        for link in LINK.findall(text):
            if re.match(r"\w+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = Path(normpath(path.parent / name)) if name else path
            assert target in names or target.exists(), f"{path.name}: {link}"
            assert not anchor or target.suffix != ".html" or anchor in names[target], f"{path.name}: {link}"
            count += 1
    assert count > 4000


def test_commands_in_tables_can_be_copied(site: Path) -> None:
    assert (
        "astro-token export --format nushell prod | from json | load-env"
        in (site / "formats.html").read_text()
    )
    tables = "".join(re.findall(r"<td>.*?</td>", (site / "formats.html").read_text(), re.DOTALL))
    assert (True, False) == ("^|^|" in tables, "\\|" in tables)


def test_every_page_of_docs_is_in_the_navigation() -> None:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)
    content = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)  # noqa: S506 (a safe loader)

    def pages(entries: list[object]) -> list[str]:
        found: list[str] = []
        for entry in entries:
            value: Any = next(iter(entry.values())) if isinstance(entry, dict) else entry
            found += pages(value) if isinstance(value, list) else [value]
        return found

    listed = pages(content["nav"])
    docs = ROOT / "docs"
    existing = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    assert existing == {name for name in listed if not name.startswith("project/")}
    assert len(listed) == len(set(listed))
    assert PARTS == [next(iter(entry)) for entry in content["nav"] if isinstance(entry, dict)]


def browse(browser: str, profile: Path, address: Path, *options: str) -> bytes:
    path = shutil.which(browser, path=PATH)
    assert path
    done = subprocess.run(
        [
            path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--force-device-scale-factor=0.5", f"--user-data-dir={profile}", *options, address.as_uri(),
        ],
        env={"PATH": PATH, "HOME": str(profile)}, cwd=profile, capture_output=True, timeout=100, check=True,
    )  # fmt: skip
    return done.stdout


def drawn(file: Path, scheme: str) -> bool:
    """Tell whether a screenshot shows the picture, in the colours of the scheme."""
    found = colours(file.read_bytes())
    return all(found[colour] > least for colour, least in zip(PICTURE[scheme], (4_000, 1_500), strict=True))


@pytest.mark.parametrize("browser", there("chromium"))
def test_the_first_page_in_a_browser(browser: str, site: Path, tmp_path: Path) -> None:
    file = tmp_path / "shot.png"
    options = (f"--screenshot={file}", "--window-size=1300,700", "--blink-settings=preferredColorScheme=1")
    page = browse(browser, tmp_path, site / "index.html", "--dump-dom", *options).decode()
    tabs = re.findall(r'class="md-tabs__link">\s*(.*?)\s*</a>', page)
    assert PARTS == [tab for tab in tabs if tab in PARTS]
    assert "<h1" in page
    assert re.search(r"<body[^>]* data-md-color-scheme=\"default\"", page)
    assert drawn(file, "light")


@pytest.mark.long
@pytest.mark.parametrize("browser", there("chromium"))
@pytest.mark.parametrize(("setting", "scheme"), [("1", "light"), ("0", "dark")])
def test_the_picture_in_a_browser(browser: str, setting: str, scheme: str, tmp_path: Path) -> None:
    file = tmp_path / "shot.png"
    options = (
        f"--screenshot={file}",
        "--window-size=960,420",
        f"--blink-settings=preferredColorScheme={setting}",
    )
    browse(browser, tmp_path, ROOT / "docs" / "explanation" / "data-path.svg", *options)
    assert [scheme] == [name for name in PICTURE if drawn(file, name)]


def test_the_picture_fetches_nothing() -> None:
    text = (ROOT / "docs" / "explanation" / "data-path.svg").read_text()
    assert ["http://www.w3.org/2000/svg"] == re.findall(r"\w+://[^\"' )<]*", text)
    assert not re.search(r"@import|@font-face|href|url\((?!#)|<script", text)
