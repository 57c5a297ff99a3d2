"""
Add to the site what its pages link to and the folder `docs` does not contain: hooks for mkdocs.

Documents of the repository's root become pages. Another file becomes a page that shows it, and a folder
one that shows all its files. So every link of the repository also works in the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
README = "README.md"
DOCUMENTS = ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")
_LANGUAGES = {
    ".sh": "sh", ".yml": "yaml", ".yaml": "yaml", ".toml": "toml", ".json": "json", ".py": "python",
    ".groovy": "groovy", ".md": "markdown",
}  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each link that leaves `docs`."""
    texts = {f"docs/{file.src_uri}": file.content_string for file in files.documentation_pages()}
    texts |= {name: (ROOT / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    for name in DOCUMENTS:
        files.append(File.generated(config, page(name), content=texts[name]))
    for source, text in texts.items():
        for link in _LINK.findall(text):
            target = resolved(source, link)
            # A broken link gets no page, so that mkdocs reports it.
            if in_docs(target) or target in {*texts, README} or not (ROOT / target).exists():
                continue
            if files.get_file_from_path(page(target)) is None:
                content = shown(ROOT / target)
                files.append(
                    File.generated(config, page(target), content=content, inclusion=InclusionLevel.NOT_IN_NAV)
                )
    return files


def on_page_markdown(markdown: str, page: Page, **_context: object) -> str:
    """Make each link one from page to page."""
    uri = page.file.src_uri
    return _LINK.sub(lambda link: relinked(uri, link[0]), markdown)


def on_page_content(html: str, **_context: object) -> str:
    r"""Show `\|` in code in a table as `|`, as GitHub does: people copy these commands."""
    return re.sub(r"<td>.*?</td>", lambda cell: cell[0].replace(r"\|", "|"), html, flags=re.DOTALL)


def relinked(uri: str, link: str) -> str:
    """Turn a link of the repository into one between pages of the site."""
    target = resolved(source(uri), link)
    if not (ROOT / target).exists():
        return link
    if target == README:  # the site has a first page of its own
        target = f"docs/{README}"
    return posixpath.relpath(
        target.removeprefix("docs/") if in_docs(target) else page(target), posixpath.dirname(uri)
    )


def in_docs(target: str) -> bool:
    return target.startswith("docs/")


def page(target: str) -> str:
    """Name the page of a file or folder outside `docs`."""
    if target in DOCUMENTS:
        return f"project/{target}"
    return f"{target}/index.md" if (ROOT / target).is_dir() else f"{target}.md"


def source(uri: str) -> str:
    """Name the file in the repository that a page comes from."""
    name = uri.removeprefix("project/")
    return name if name in DOCUMENTS else f"docs/{uri}"


def resolved(source: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), link))


def shown(path: Path) -> str:
    """Show a file, or each file of a folder."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_file():
        return f"# {name}\n\n{block(path)}"
    files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    parts = [f"## {file.relative_to(path).as_posix()}\n\n{block(file)}" for file in files]
    return "\n".join([f"# {name}\n", *parts])


def block(path: Path) -> str:
    text = path.read_text(encoding="utf-8").rstrip("\n")
    fence = "````" if "```" in text else "```"
    return f"{fence}{_LANGUAGES.get(path.suffix, 'text')}\n{text}\n{fence}\n"
