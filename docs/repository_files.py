"""MkDocs hook: put the README and other files of the repository into the site, and rewrite the links between them.

README.md is the home page, and folder READMEs are pages at their own paths, so that every text exists once and its
links work on the site as well as in a checkout. A linked file that is not Markdown is copied into the site.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def site_path(path: str) -> str:
    """Return where a file of the repository is on the site: docs/ is its root, and the README its home page."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def repository_path(path: str) -> str:
    """Return the inverse of `site_path`."""
    if path == "index.md":
        return "README.md"
    return f"docs/{path}" if (ROOT / "docs" / path).is_file() else path


def targets(path: str) -> set[str]:
    """Return the files of the repository that a Markdown file links to."""
    text = (ROOT / path).read_text(encoding="utf-8")
    folder = PurePosixPath(path).parent
    links = [normpath(folder / link) for _, link, _ in LINK.findall(text) if "://" not in link]
    return {link for link in links if (ROOT / link).is_file()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README and all that it, the pages and the files that they link to link to."""
    waiting = ["README.md", *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    visited: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in visited:
            continue
        visited.add(path)
        if not path.startswith("docs/"):
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
        if path.endswith(".md"):
            waiting += targets(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links to files of the repository to where these are on the site."""
    source = repository_path(page.file.src_uri)

    def rewritten(match: re.Match[str]) -> str:
        start, link, end = match.groups()
        path = normpath(PurePosixPath(source).parent / link)
        if "://" in link or not (ROOT / path).is_file():
            return match[0]
        return f"{start}{relpath(site_path(path), PurePosixPath(page.file.src_uri).parent)}{end}"

    return LINK.sub(rewritten, markdown)
