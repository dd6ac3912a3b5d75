"""Exceptions and warnings."""

from __future__ import annotations

from typing import Any


class ClipwayError(Exception):
    """What clipway refuses or cannot do.

    `code` is stable and listed in docs/errors.md; messages may change. `hint` says what to do, where that is known; the option
    `--max-input` of a hint is the keyword `max_input` here. `details` has what `--json` prints beside: `differences` and
    `problems`, or the report of a verification that failed.
    """

    code: str
    hint: str | None
    details: Any

    def __init__(self, message: str, code: str, hint: str | None = None, details: Any = None) -> None:
        super().__init__(message, code, hint, details)
        self.code = code
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        message = f"{self.args[0]} [{self.code}]"
        return f"{message}\nhint: {self.hint}" if self.hint else message


class ClipwayWarning(UserWarning):
    """What a caller should know, such as texts that were truncated."""
