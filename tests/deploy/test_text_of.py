"""Reading small files of a project, with a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astro_token.deploy.project_layout import text_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_is_long_or_none_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert "" == text_of(file)
    file.write_bytes(b"\xef\xbb\xbfa\xff")
    assert "a\ufffd" == text_of(file)
    file.write_bytes(b"a" * (256 * 1024))
    assert 256 * 1024 == len(text_of(file))
    file.write_bytes(b"a" * (256 * 1024 + 1))
    assert "" == text_of(file)
    assert "" == text_of(tmp_path)
