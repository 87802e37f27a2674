"""The runner of mutation tests: what it plants, that a planted bug which no test sees is a survivor, and that the tree stays as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutation import c_mutants, python_mutants
from mutation.mutant import Edit, mutants_of, sample
from mutation.page import TITLE, Outcome, section, with_section

TESTS = Path(__file__).parents[1]


def changes(path: str, source: str) -> set[tuple[str, str]]:
    edits = python_mutants.edits if path.endswith(".py") else c_mutants.edits
    return {(m.before, m.after) for m in mutants_of(path, source.encode(), edits(source.encode()))}


def test_mutants_of_python() -> None:
    source = '''def f(a: int = 3) -> int:
    """Not 7."""
    assert a < 9
    if a <= 5 and not a % 2:
        raise ValueError(f"{a + 1}")
    a += 2
    print(min(a, 4))
    return -a if a in (8,) else 0
'''
    assert changes("f.py", source) == {
        ("3", "4"),
        ("a <= 5 and not a % 2", "not (a <= 5 and not a % 2)"),
        ("<=", "<"),
        ("5", "6"),
        ("and", "or"),
        ("a <= 5", "True"),
        ("not a % 2", "True"),
        ("not a % 2", "a % 2"),
        ("%", "//"),
        ("2", "3"),
        ('raise ValueError(f"{a + 1}")', "pass"),
        ("a += 2", "pass"),
        ("+", "-"),
        ("print(min(a, 4))", "pass"),
        ("min", "max"),
        ("4", "5"),
        ("a in (8,)", "not (a in (8,))"),
        ("in", "not in"),
        ("8", "9"),
        ("-a", "a"),
        ("0", "1"),
    }


def test_mutants_of_c() -> None:
    source = """#define N 3 /* a + b */
static int f(const char *text, int *to)
{
    int found = 0x10;
    if (*to > 4 && !text[0]) {
        return KT_ERROR_ARENA;
    }
    put(text, "a < b");
    *to -= 2;
    for (int i = 0; i < found; i++) {
        found = *to ? found : 1;
    }
    return found;
}
"""
    assert changes("f.c", source) == {
        ("0x10", "17"),
        ("*to > 4 && !text[0]", "!(*to > 4 && !text[0])"),
        (">", ">="),
        ("4", "5"),
        ("&&", "||"),
        ("*to > 4", "1"),
        ("!text[0]", "1"),
        ("!", ""),
        ("0", "1"),
        ("return KT_ERROR_ARENA;", "return KT_OK;"),
        ('put(text, "a < b");', ";"),
        ("*to -= 2;", ";"),
        ("-=", "+="),
        ("2", "3"),
        ("<", "<="),
        ("++", "--"),
        ("found = *to ? found : 1;", ";"),
        ("*to ", "!(*to) "),
        ("1", "2"),
        ("1", "0"),
    }


def test_a_mutant_keeps_its_name_while_other_lines_change() -> None:
    """Names and the sample stay; equal mutants of equal lines are told apart."""
    source = b"x = 1\ny = a < b\ny = a < b\n"
    named = {m.name: m for m in mutants_of("m.py", source, python_mutants.edits(source))}
    longer = b"# more\n" + source
    assert set(named) == {m.name for m in mutants_of("m.py", longer, python_mutants.edits(longer))} and len(named) == 4
    for m in named.values():
        assert m.apply(source) != source and m.apply(source).count(b"\n") == 3 and source[m.start : m.end].decode() == m.before
    every = list(named.values())
    assert sample(every, 0) == sample(reversed(every), 0) and {tuple(sample(every, seed)) for seed in range(9)} != {tuple(sample(every, 0))}
    assert list(mutants_of("m.py", source, [Edit(4, 5, "1", "none")])) == [], "what changes nothing is no mutant"


RUN = """
import sys
from pathlib import Path
from mutation.areas import Area
from mutation.runner import main

area = Area("shop", {"price.py": ("test_price.py",), "limit.c": ("test_limit.py",)})
main(sys.argv[1:], Path.cwd(), {"shop": area})
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two files: of price.py the test forgets the limit itself, of limit.c it tests everything."""
    files = {
        "price.py": "def reduced(count):\n    return count > 10\n",
        "test_price.py": "from price import reduced\n\ndef test_price():\n    assert reduced(20) and not reduced(1)\n",
        "limit.c": "int main(int count, char **arguments)\n{\n    (void)arguments;\n    return count > 2;\n}\n",
        "test_limit.py": "import subprocess\n\ndef test_limit(tmp_path):\n    subprocess.run(['gcc', 'limit.c', '-o', tmp_path / 'p'], check=True)\n"
        "    assert [subprocess.run([tmp_path / 'p', *'xyz'[:n]]).returncode for n in range(4)] == [0, 0, 1, 1]\n",
        "conftest.py": "import sys\nsys.path.insert(0, '.')\n",
        "pyproject.toml": "[tool.pytest.ini_options]\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def run(tree: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, "--jobs", "1", *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_survivors_are_told_from_the_killed(tree: Path) -> None:
    """A test that does not look at the limit lets two mutants live; written, it kills one more, and only survivors are run again."""
    before = {p.name: p.read_bytes() for p in tree.iterdir()}
    said = run(tree, "--sample", "0")
    assert "SURVIVED price.py:2: > -> >=" in said and "SURVIVED price.py:2: 10 -> 11" in said and said.count("SURVIVED") == 2
    assert "killed   limit.c:4: > -> >=" in said and "killed   limit.c:4: 2 -> 3" in said
    known = [json.loads(line) for line in (tree / "build" / "mutants.jsonl").read_text().splitlines()]
    killed = sum(entry["killed"] for entry in known)
    assert len(known) == killed + 2 and f"| shop | {len(known) + 1} | {len(known)} | {killed} | 0 |" in said, "one the compiler refuses"
    assert {name: (tree / name).read_bytes() for name in before} == before, "the tree is not touched"
    assert "SURVIVED" not in run(tree, "--sample", "0"), "what is known is not run again"
    (tree / "test_price.py").write_text(before["test_price.py"].decode() + "    assert not reduced(10)\n")
    again = run(tree, "--sample", "0", "--write", str(tree / "page.md"))
    assert again.count("SURVIVED") == 1 and again.count("killed  ") == 1 and "SURVIVED price.py:2: 10 -> 11" in again
    assert "| price.py:2 | `10 -> 11 (constant)` | open" in (tree / "page.md").read_text()


def test_tests_that_fail_by_themselves_are_no_measure(tree: Path) -> None:
    (tree / "test_price.py").write_text("def test_price():\n    assert False\n")
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run([sys.executable, "-c", RUN, "--files", "price.py"], cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "test_price.py: fails without a mutant" in done.stderr


def test_the_section_of_a_page() -> None:
    """Counts, shares and reasons; the other sections of the page stay."""
    a, b, c = list(mutants_of("m.py", b"x = 1 < 2\n", python_mutants.edits(b"x = 1 < 2\n")))[:3]
    outcomes = {"area": [Outcome(a, True, ""), Outcome(b, False, ""), Outcome(c, False, "")]}
    text = section(outcomes, {"area": 1234}, 5, {b.name: ("equivalent", "nobody can see it")})
    assert "| area | 1,234 | 3 | 1 | 1 | 33.3 % | 50.0 % |" in text and "by seed 5" in text
    assert f"| {b.name} |" in text and "equivalent: nobody can see it" in text and f"| {c.name} |" in text and "open: no test sees it yet" in text
    assert a.name not in text
    page = with_section("# Title\n\n## Before\n\nb\n\n## After\n\na\n", text)
    assert page.index("## Before") < page.index("## After") < page.index(TITLE)
    middle = with_section(f"# Title\n\n{TITLE}\n\nold\n\n## After\n\na\n", text)
    assert "old" not in middle and middle.index(TITLE) < middle.index("## After") and with_section(middle, text) == middle
