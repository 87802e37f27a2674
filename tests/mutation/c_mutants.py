"""Mutants of C: a small tokenizer on a text whose comments, strings and directives are blanked. It relies on the layout of this
repository: spaces around operators of two operands, none around those of one, a statement on lines of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .mutant import Edit

SWAPS = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "+": "-",
    "-": "+",
    "*": "+",
    "/": "*",
    "%": "/",
    "&": "|",
    "|": "&",
    "^": "|",
    "<<": ">>",
    ">>": "<<",
    "+=": "-=",
    "-=": "+=",
    "|=": "&=",
    "&=": "|=",
    "^=": "|=",
    "&&": "||",
    "||": "&&",
}
COMPARISONS = frozenset(["<", "<=", ">", ">=", "==", "!="])
BLANKED = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|^[ \t]*#(?:\\\n|[^\n])*", re.DOTALL | re.MULTILINE)
OPERATOR = re.compile(r"(?<= )(<<|>>|<=|>=|==|!=|&&|\|\||\+=|-=|\|=|&=|\^=|[-+*/%&|^<>])(?=\s)")
NUMBER = re.compile(r"\b(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)\b(?!\.)")
STATEMENT = re.compile(r"^[ \t]+(?P<body>[A-Za-z_*(+-][^;{}]*;)", re.MULTILINE)
"""At the beginning of a line; a line that goes on with an expression is no statement, and no compiler takes it without."""
QUALIFIERS = r"(?:static |const |volatile |struct |enum |unsigned )*"
DECLARATION = re.compile(QUALIFIERS + r"[A-Za-z_]\w*(?: const)?(?: | \*)(?:const )?\*?[A-Za-z_]\w*(?:\[.*\])?(?: = .*|, .*)?;", re.DOTALL)
KEYWORD = re.compile(r"(?:return|if|else|for|while|do|switch|case|default|goto|typedef|struct|enum|static|const)\b")


def edits(source: bytes) -> Iterator[Edit]:
    """Every mutant of a C file; whether a compiler takes it is not known yet."""
    text = source.decode("ascii")
    code = BLANKED.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    yield from _tokens(code)
    yield from _statements(code)
    for start, end in _expressions(code):
        yield from _conditions(code, start, end)


def _tokens(code: str) -> Iterator[Edit]:
    for m in OPERATOR.finditer(code):
        yield Edit(m.start(), m.end(), SWAPS[m.group()], "comparison" if m.group() in COMPARISONS else "operator")
    for m in NUMBER.finditer(code):
        value = int(m.group(1), 16 if m.group(1)[:2] in ("0x", "0X") else 10)
        yield Edit(m.start(), m.end(), f"{value + 1}{m.group(2)}", "constant")
        if value == 1:
            yield Edit(m.start(), m.end(), f"0{m.group(2)}", "constant")
    for m in re.finditer(r"\+\+|--", code):
        yield Edit(m.start(), m.end(), "--" if m.group() == "++" else "++", "operator")
    for m in re.finditer(r"!(?!=)", code):
        yield Edit(m.start(), m.end(), "", "sign dropped")
    for m in re.finditer(r"\breturn (?:KT_ERROR|STATUS)_\w+;", code):
        yield Edit(m.start(), m.end(), "return KT_OK;", "error dropped")


def _statements(code: str) -> Iterator[Edit]:
    for m in STATEMENT.finditer(code):
        body = m.group("body")
        if KEYWORD.match(body) or DECLARATION.fullmatch(body):
            continue
        yield Edit(m.start("body"), m.end("body"), ";", "statement dropped")


def _closing(code: str, opening: int) -> int:
    """Where the bracket closes that opens there."""
    depth = 0
    for at in range(opening, len(code)):
        depth += (code[at] in "([{") - (code[at] in ")]}")
        if depth == 0:
            return at
    raise ValueError(f"no bracket closes the one at {opening}")


def _expressions(code: str) -> Iterator[tuple[int, int]]:
    """Conditions of if and while, what is returned, and what is assigned."""
    for m in re.finditer(r"\b(?:if|while) \(", code):
        yield m.end(), _closing(code, m.end() - 1)
    for m in re.finditer(r"(?:\breturn |(?<= )[|&]?= )(?!\{)", code):
        end = code.find(";", m.end())
        if end >= 0:
            yield m.end(), end


def _conditions(code: str, start: int, end: int) -> Iterator[Edit]:
    """The whole negated, where it is a condition, and each operand of && and || dropped."""
    expression = code[start:end]
    condition = code[:start].endswith(("if (", "while ("))
    choice = _split(expression, ["?"])
    if condition:
        yield Edit(start, end, f"!({expression})", "negated")
    elif len(choice) > 1:
        yield Edit(start, start + choice[0][1], f"!({expression[: choice[0][1]].rstrip()}) ", "negated")
        end = start + choice[0][1]
    yield from _operands(code, start, end)


def _operands(code: str, start: int, end: int) -> Iterator[Edit]:
    for operator, neutral in (("||", "0"), ("&&", "1")):
        found = _split(code[start:end], [operator])
        if len(found) > 1:
            for low, high in found:
                words = code[start + low : start + high]
                first, last = start + low + len(words) - len(words.lstrip()), start + low + len(words.rstrip())
                yield Edit(first, last, neutral, "condition dropped")
                yield from _operands(code, first, last)
            return
    if code[start:end].startswith("(") and _closing(code, start) == end - 1:
        yield from _operands(code, start + 1, end - 1)


def _split(expression: str, separators: list[str]) -> list[tuple[int, int]]:
    """Spans between separators that stand in no bracket."""
    spans, depth, begin, at = [], 0, 0, 0
    while at < len(expression):
        depth += (expression[at] in "([{") - (expression[at] in ")]}")
        hit = next((s for s in separators if depth == 0 and expression.startswith(s, at)), None)
        if hit:
            spans.append((begin, at))
            begin = at + len(hit)
        at += len(hit) if hit else 1
    return [*spans, (begin, len(expression))]
