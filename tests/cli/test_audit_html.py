"""`audit --format html` in a real browser: on a screen, in the dark, and on paper."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from tests.cli.test_audit import FORMULA, LEFT, MARKUP, PROD, api, at, fill, keep
from tests.formats.consumers import PATH, there

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Program
    from tests.servers.astro_api import AstroApi

__all__ = ["api"]

WHITE, DARK = (255, 255, 255), (20, 24, 31)
BARS = {"error": (196, 68, 59), "warning": (224, 160, 48), "ok": (127, 184, 148)}
browsers = pytest.mark.parametrize("browser", there("chromium"))


class Page(HTMLParser):
    """The elements of a page, with the texts of table cells by table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.rows: dict[str, list[list[str]]] = {}
        self._table, self._cell = "", False
        self.title = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += attrs
        if tag == "table":
            self._table = dict(attrs)["id"] or ""
            self.rows[self._table] = []
        elif tag == "tr":
            self.rows[self._table].append([])
        elif tag in {"td", "th"}:
            self.rows[self._table][-1].append("")
        self._cell = self._cell or tag in {"td", "th"}
        if tag == "title":
            self.title = self.title or "?"

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self.title == "?":
            self.title = data
        if self._cell:
            self.rows[self._table][-1][-1] += f"{data} "


def browse(browser: str, folder: Path, *options: str) -> bytes:
    path = shutil.which(browser, path=PATH)
    assert path
    done = subprocess.run(
        [
            path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            f"--user-data-dir={folder / 'profile'}", *options, f"file://{folder / 'report.html'}",
        ],
        env={"PATH": PATH, "HOME": str(folder)}, cwd=folder, capture_output=True, timeout=100, check=True,
    )  # fmt: skip
    return done.stdout


def colours(png: bytes) -> Counter[tuple[int, ...]]:
    """The number of pixels of each colour."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, kind = struct.unpack(">IIBB", png[16:26])
    assert (8, True) == (depth, kind in {2, 6})
    data, offset = b"", 8
    while offset < len(png):
        (size,) = struct.unpack(">I", png[offset : offset + 4])
        if png[offset + 4 : offset + 8] == b"IDAT":
            data += png[offset + 8 : offset + 8 + size]
        offset += size + 12
    raw, step = zlib.decompress(data), 3 if kind == 2 else 4
    stride, found = width * step, Counter[tuple[int, ...]]()
    above = bytearray(stride)
    for number in range(height):
        start = number * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        undo(raw[start], line, above, step)
        found.update(zip(line[0::step], line[1::step], line[2::step], strict=True))
        above = line
    return found


def undo(mode: int, line: bytearray, above: bytearray, step: int) -> None:
    """Undo a filter of PNG."""
    for index in range(len(line)) if mode else ():
        left, up = (line[index - step], above[index]) if index >= step else (0, above[index])
        corner = above[index - step] if index >= step else 0
        guess = left + up - corner
        nearest = min((left, up, corner), key=lambda value: abs(guess - value))
        line[index] = (line[index] + (0, left, up, (left + up) // 2, nearest)[mode]) & 255


@pytest.fixture
def report(program: Program, api: AstroApi) -> Path:
    fill(api)
    keep(api, "cltk13", "later", endAt=at(500))
    result = program("audit", "--format", "html", "--output", "report.html")
    assert (0, "") == (result.code, result.stdout)
    return program.work / "report.html"


def test_the_file_loads_and_runs_nothing(report: Path) -> None:
    text = report.read_text()
    page = Page(text)
    assert {"script", "img", "link", "iframe", "object", "form", "a", "base"}.isdisjoint(page.elements)
    names = {name for name, _ in page.attributes}
    assert {"src", "href", "style", "action"}.isdisjoint(names)
    assert [] == [name for name in names if name.startswith("on")]
    assert [] == re.findall(r"https?:|url\(|@import|##", text)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'\"" in text


SCREEN = ("--window-size=900,620", "--force-device-scale-factor=0.5")


@browsers
def test_the_rendered_page_and_what_it_looks_like_on_a_light_screen_and_on_paper(
    browser: str, report: Path
) -> None:
    """In one start of the browser."""
    shot, pdf = report.parent / "shot.png", report.parent / "report.pdf"
    dom = browse(
        browser, report.parent, "--dump-dom", f"--screenshot={shot}", *SCREEN,
        "--blink-settings=preferredColorScheme=1", "--no-pdf-header-footer", f"--print-to-pdf={pdf}",
    )  # fmt: skip
    check_parts(dom.decode())
    # The timeline is drawn, in all its colours.
    found = looks(shot.read_bytes(), WHITE)
    assert [] == [name for name, colour in BARS.items() if found[colour] < 50]
    check_print(pdf.read_bytes())


@browsers
def test_a_dark_screen(browser: str, report: Path) -> None:
    shot = report.parent / "shot.png"
    browse(browser, report.parent, f"--screenshot={shot}", *SCREEN, "--blink-settings=preferredColorScheme=0")
    looks(shot.read_bytes(), DARK)


def check_parts(dom: str) -> None:
    page = Page(dom)
    assert "Audit of the API tokens of clorganization0000000001" == page.title
    bars = Counter(value for name, value in page.attributes if name == "class" and value in BARS)
    assert (1, 0) == (page.elements["svg"], page.elements["script"])
    assert set(BARS) == bars.keys()
    assert 5 <= page.elements["rect"] <= 12
    tokens = page.rows["tokens"]
    assert ["Status", "Token", "Scope and roles", "Expires"] == [cell.strip() for cell in tokens[0][:4]]
    assert 16 == len(tokens) - 1
    assert ["error", "error"] == [row[0].strip() for row in tokens[1:3]]
    assert ["ok", "ok", "ok"] == [row[0].strip() for row in tokens[-3:]]
    texts = [" ".join(row) for row in tokens]
    for title in (FORMULA, MARKUP, LEFT, "(title not shown)"):
        assert 1 == sum(title in text for text in texts), title
    assert re.search(r"prod +- *$", next(text for text in texts if PROD in text))
    assert ["--admin", "prod", "staging"] == [row[1].strip() for row in page.rows["configurations"][1:]]
    kinds = {row[0].strip(): row[1].strip() for row in page.rows["findings"][1:]}
    assert ("11", "1", "2") == (kinds["unconfigured"], kinds["leftover"], kinds["duplicate"])


def looks(png: bytes, paper: tuple[int, ...]) -> Counter[tuple[int, ...]]:
    """The number of pixels of each colour, most of which are paper."""
    found = colours(png)
    assert (450 * 310, paper) == (found.total(), found.most_common(1)[0][0])
    return found


def check_print(data: bytes) -> None:
    boxes = {
        tuple(map(float, box))
        for box in re.findall(rb"/MediaBox \[([\d.]+) ([\d.]+) ([\d.]+) ([\d.]+)\]", data)
    }
    (box,) = boxes
    assert (True, True) == (data.startswith(b"%PDF-"), box[2] > box[3])  # landscape
    assert 2 <= len(re.findall(rb"/Type /Page\b", data)) <= 4
