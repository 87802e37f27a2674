"""The one exception a user sees when a model or an option is at fault."""

from __future__ import annotations

from .plain_text import printable


class CompileError(Exception):
    """A model, an option or a budget cannot be compiled.

    where: the file, layer or option at fault, as the user knows it.
    what: the cause, one sentence.
    hint: what to do instead.
    All three may quote a file: what a terminal would obey is escaped.
    """

    def __init__(self, where: str, what: str, hint: str) -> None:
        self.where, self.what, self.hint = printable(where), printable(what), printable(hint)
        super().__init__(f"{self.what}\n  at {self.where}\n  hint: {self.hint}")


class BudgetError(CompileError):
    """A memory budget given by the user cannot be met; the model itself is fine."""


class FlashBudgetError(BudgetError):
    """The budget of flash. excess: bytes above it."""

    def __init__(self, budget: int, used: int) -> None:
        super().__init__(f"flash={budget}", f"the model needs {used:,} bytes of flash", "use a smaller model, or train fewer layers")
        self.excess = used - budget
