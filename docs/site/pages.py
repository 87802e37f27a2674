"""A hook of mkdocs: the site's pages are the repository's, at their own paths, so that every link holds in both.

mkdocs knows one folder of pages, and README, ARCHITECTURE and the examples lie outside of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ("*.md", "docs/*.md", "docs/*/*.md", "boards/*.md", "renode/*.md", "examples/*/*.md")
LINK = re.compile(r"\]\(([^)\s#]+)")


def pages() -> list[Path]:
    """The Markdown files that are pages of the site."""
    return sorted(p for pattern in PATTERNS for p in ROOT.glob(pattern) if "model" not in p.relative_to(ROOT).parts)


def linked(page: Path) -> set[Path]:
    """What a page leads to that is no page: pictures, programs, a licence."""
    targets = (page.parent / target for target in LINK.findall(page.read_text(encoding="utf-8")) if not target.startswith(("http:", "https:")))
    return {p.resolve() for p in targets if p.is_file() and p.suffix != ".md"}


def on_files(files: Files, config: Any) -> Files:
    """mkdocs asks this for the files of the site; those of the theme stay."""
    theme = [f for f in files if f.src_dir != config.docs_dir]
    found = pages()
    own = [*found, *sorted({target for page in found for target in linked(page)})]
    return Files([*theme, *(File(p.relative_to(ROOT).as_posix(), str(ROOT), config.site_dir, config.use_directory_urls) for p in own)])
