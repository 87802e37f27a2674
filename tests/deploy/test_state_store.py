"""The state in flash: whole after a power cut at any operation, even wear, and no more erasures than its bytes need."""

from __future__ import annotations

from pathlib import Path

import pytest

from .programs import run, runtime_program

FLASHES = [(256, 8, 8, 300), (4096, 2, 4, 900), (1024, 2, 1, 992), (256, 8, 8, 992)]
"""Bytes of a page, pages, bytes of a word, bytes of a content: over pages, several a page, exactly a page each, half of the flash."""


@pytest.mark.parametrize(("page", "pages", "word", "content"), FLASHES)
def test_every_cut_leaves_a_whole_content(page: int, pages: int, word: int, content: int, tmp_path: Path) -> None:
    saves = 400
    options = (f"-DPAGE={page}", f"-DPAGES={pages}", f"-DWORD={word}", "-DCUTS=12")
    program = runtime_program("store.c", tmp_path, ("state_store",), options)
    done, recorded, erased, most = (int(n) for n in run(program, str(content), str(saves)).split())
    assert done == saves and erased <= recorded <= erased + 50
    used = -(-(content + 32) // 32) * 32
    needed = (saves - 12) * used / page
    assert needed - pages <= erased <= 1.25 * needed + pages, "what is written is erased once, but for the rest of a round"
    assert most <= 1.25 * erased / pages + 2, "pages wear evenly"
