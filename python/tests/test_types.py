"""The stubs say what is there, and type checkers accept a usual program. Skipped where a checker is not installed."""

from __future__ import annotations

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def check(*words: str, cwd: pathlib.Path) -> None:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=cwd, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_mypy_and_stubtest(tmp_path: pathlib.Path) -> None:
    shutil.copy(HERE / "typed.py", tmp_path)
    check("mypy", "--strict", "typed.py", cwd=tmp_path)
    check("mypy.stubtest", "clipway._clipway", "--ignore-disjoint-bases", cwd=tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_pyright(tmp_path: pathlib.Path) -> None:
    shutil.copy(HERE / "typed.py", tmp_path)
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    check("pyright", "--pythonpath", sys.executable, "typed.py", cwd=tmp_path)
