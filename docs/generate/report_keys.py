"""docs/reference/report.md: what `report.json` and `kilotune report --json` hold, from `kiloc.report.schema`."""

from __future__ import annotations

from markdown_text import escaped, page, prose, table, wrapped

from kiloc.report.schema import GROUPS, KEYS

INTRO = """`kilotune build` writes `report.json` into the build directory, `kilotune report DIR --json` prints it, and `Build.report` is
the same as a dictionary. `a.b` is a member of an object, `a[]` each entry of a list, `a.*` each member of an object whose names depend on
the model."""


def render() -> str:
    parts = [prose(INTRO)]
    for group, meaning in GROUPS.items():
        rows = [(f"`{path}`", key.unit, escaped(key.meaning)) for path, key in KEYS.items() if path.split(".")[0].removesuffix("[]") == group]
        parts.append(f"## `{group}`\n\n{wrapped(meaning)}\n\n{table(('key', 'unit', 'meaning'), rows)}")
    return page("The report", "`kiloc/report/schema.py`", *parts)
