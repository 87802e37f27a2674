"""Mutants of Python: the syntax tree says where, the text is replaced in place.

Left alone are annotations, decorators, assertions (they are tests themselves), `strict=` of zip (an assertion too), the text
of messages, and what stands inside f-strings, whose positions Python tells from 3.12 on only.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from .mutant import Edit

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: (r"<", "<="),
    ast.LtE: (r"<=", "<"),
    ast.Gt: (r">", ">="),
    ast.GtE: (r">=", ">"),
    ast.Eq: (r"==", "!="),
    ast.NotEq: (r"!=", "=="),
    ast.Is: (r"\bis\b", "is not"),
    ast.IsNot: (r"\bis\s+not\b", "is"),
    ast.In: (r"\bin\b", "not in"),
    ast.NotIn: (r"\bnot\s+in\b", "in"),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: (r"\+", "-"),
    ast.Sub: (r"-", "+"),
    ast.Mult: (r"\*", "+"),
    ast.FloorDiv: (r"//", "*"),
    ast.Div: (r"/", "*"),
    ast.Mod: (r"%", "//"),
    ast.Pow: (r"\*\*", "*"),
    ast.BitAnd: (r"&", "|"),
    ast.BitOr: (r"\|", "&"),
    ast.BitXor: (r"\^", "|"),
    ast.LShift: (r"<<", ">>"),
    ast.RShift: (r">>", "<<"),
}
TWINS = {"min": "max", "max": "min", "any": "all", "all": "any"}


def edits(source: bytes) -> Iterator[Edit]:
    """Every mutant of a module that can be compiled."""
    for edit in _Finder(source).found:
        try:
            compile(source[: edit.start] + edit.text.encode() + source[edit.end :], "mutant", "exec")
        except (SyntaxError, ValueError):
            continue
        yield edit


class _Finder(ast.NodeVisitor):
    def __init__(self, source: bytes) -> None:
        self.source = source
        self.found: list[Edit] = []
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.visit(ast.parse(source))

    # -- positions ------------------------------------------------------------------------------------
    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def put(self, node: ast.expr | ast.stmt, text: str, kind: str) -> None:
        self.found.append(Edit(*self.span(node), text, kind))

    def between(self, left: ast.expr, right: ast.expr, pattern: str, text: str, kind: str) -> None:
        """Replace an operator that stands between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        operator = re.search(pattern.encode(), self.source[start:end])
        if operator:
            self.found.append(Edit(start + operator.start(), start + operator.end(), text, kind))

    # -- expressions ----------------------------------------------------------------------------------
    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, operator, right in zip(operands, node.ops, node.comparators, strict=False):
            self.between(left, right, *COMPARISONS[type(operator)], "comparison")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in ARITHMETIC:
            self.between(node.left, node.right, *ARITHMETIC[type(node.op)], "operator")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word, other, neutral = ("and", "or", "True") if isinstance(node.op, ast.And) else ("or", "and", "False")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.between(left, right, rf"\b{word}\b", other, "operator")
        for value in node.values:
            self.put(value, neutral, "condition dropped")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self.put(node, self.text(node.operand), "sign dropped")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.put(node, str(not node.value), "constant")
        elif isinstance(node.value, int):
            self.put(node, str(node.value + 1), "constant")
            if node.value == 1:
                self.put(node, "0", "constant")

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self.negate(condition)
            self.put(condition, "True", "condition dropped")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in TWINS:
            self.put(node.func, TWINS[node.func.id], "function")
        self.generic_visit(node)

    def negate(self, condition: ast.expr) -> None:
        self.put(condition, f"not ({self.text(condition)})", "negated")

    # -- statements -----------------------------------------------------------------------------------
    def visit_If(self, node: ast.If) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.put(node, "pass", "statement dropped")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self.put(node, "pass", "statement dropped")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.put(node, "pass", "statement dropped")
        pattern, other = ARITHMETIC[type(node.op)]
        start, end = self.span(node.target)[1], self.span(node.value)[0]
        operator = re.search(pattern.encode(), self.source[start:end])
        if operator:
            self.found.append(Edit(start + operator.start(), start + operator.end(), other, "operator"))
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.put(node, "pass", "statement dropped")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.put(node, "pass", "statement dropped")

    def visit_Break(self, node: ast.Break) -> None:
        self.put(node, "pass", "statement dropped")

    # -- what is left alone ---------------------------------------------------------------------------
    def visit_Assert(self, node: ast.Assert) -> None:
        pass

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        pass

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg != "strict":
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.visit(node.args)
        for statement in node.body:
            self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)
