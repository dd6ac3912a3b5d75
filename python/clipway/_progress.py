"""Progress bars."""

from __future__ import annotations

from typing import Any


class Bar:
    """A bar of tqdm that is told how many items are done."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def report(self, done: int, total: int | None) -> None:
        """Moves the bar."""
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


def bar(total: int | None) -> Bar:
    """A bar for this many items."""
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("`progress=True` needs tqdm: install it, or pass a function") from error
    return Bar(tqdm(total=total, unit="img"))
