"""Write the reference pages: `python docs/generate`, or with `--check` say which are out of date and leave them as they are."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

import c_api
import operator_table
import python_api
import report_keys

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "python.md": python_api.render,
    "c.md": c_api.render,
    "report.md": report_keys.render,
    "operators.md": operator_table.render,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is out of date, and show how")
    check = parser.parse_args().check
    stale = 0
    for name, render in PAGES.items():
        path, text = REFERENCE / name, render()
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == text:
            continue
        stale += 1
        if check:
            print(f"docs/reference/{name} is out of date: run `make docs`")
            sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), text.splitlines(True), "committed", "generated", n=1))
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/reference/{name}")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
