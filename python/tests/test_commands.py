"""Commands as functions give what the command line gives."""

from __future__ import annotations

import json
import pathlib
import pydoc
import subprocess
import sys

import pytest

import clipway
from conftest import EMOJI, command_line


def files(folder: pathlib.Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_an_export_has_the_bytes_of_the_command_line(emoji: pathlib.Path, tmp_path: pathlib.Path) -> None:
    source, config = EMOJI / "emoji-clip.pt", EMOJI / "emoji-clip.json"
    by_command = tmp_path / "model"
    done = command_line("export", source, "--model", config, "--out", by_command)
    assert done.returncode == 0, done.stderr
    here, there = files(emoji), files(by_command)
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []
    report = clipway.export(source, tmp_path / "half", model=config, precision="fp16", image_mean=[0.5, 0.5, 0.5])
    assert report["verification"]["passed"] is True
    assert clipway.export(source, model=config, dry_run=True, out=tmp_path / "none")["ledger"]
    assert not (tmp_path / "none").exists()


def test_inspect_and_verify_return_their_json(emoji: pathlib.Path) -> None:
    source = EMOJI / "emoji-clip.pt"
    printed = command_line("inspect", source, "--json")
    assert clipway.inspect(source) == json.loads(printed.stdout)
    report = clipway.verify(emoji, against=source)
    assert report["passed"] is True
    assert clipway.verify(emoji, hashes_only=True)["differences"] == []


def test_a_verification_that_fails_is_raised(emoji: pathlib.Path, tmp_path: pathlib.Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(emoji, copy)
    (copy / "README.md").write_text("changed")
    with pytest.raises(clipway.ClipwayError) as error:
        clipway.verify(copy)
    assert error.value.code == "verification"
    assert any("README.md" in line for line in error.value.details["differences"])


def test_failures_carry_code_hint_and_details(emoji: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(clipway.ClipwayError) as error:
        clipway.export(EMOJI / "emoji-clip.pt", emoji)
    assert error.value.code in ("exists", "ambiguous-model") and error.value.hint
    with pytest.raises(clipway.ClipwayError) as error:
        clipway.inspect(tmp_path / "absent.pt")
    assert error.value.code == "io" and "absent.pt" in str(error.value)
    with pytest.raises(TypeError, match="has no option `dryrun`; the nearest is `dry_run`"):
        clipway.export("x", dryrun=True)
    with pytest.raises(TypeError, match="`dry_run`: expected True or False"):
        clipway.export("x", dry_run="yes")


def test_help_teaches() -> None:
    for function, words in [
        (clipway.export, ["dry_run", "precision", "fp32, fp16, bf16", "verified before"]),
        (clipway.inspect, ["stats", "No pickle is executed"]),
        (clipway.verify, ["blocks", "details"]),
        (clipway.Model.encode_image, ["normalize", "on_error", "borrowed"]),
        (clipway.Model.load, ["hf-hub:OWNER/NAME", "threads"]),
    ]:
        text = pydoc.render_doc(function)
        assert [word for word in words if word not in text] == [], function
    assert "max_pixels" in clipway.load_options() and "json" not in clipway.load_options().split("\n")


def test_the_command_is_installed() -> None:
    done = subprocess.run([sys.executable, "-m", "clipway", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == f"clipway {clipway.__version__}"
    done = subprocess.run([sys.executable, "-m", "clipway", "embed"], capture_output=True, text=True)
    assert done.returncode == 2 and "Usage" in done.stderr
    done = subprocess.run([sys.executable, "-m", "clipway", "inspect", "/nowhere", "--json"], capture_output=True, text=True)
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "io"


def test_the_import_is_fast() -> None:
    # The processor's time: what else the machine does is not the import's.
    script = "import time; start = time.process_time(); import clipway; print(time.process_time() - start)"
    best = min(float(subprocess.check_output([sys.executable, "-c", script])) for _ in range(5))
    print(f"import: {best * 1e3:.0f} ms")
    assert best < 0.05
    # NumPy is imported when it is needed.
    script = "import sys, clipway; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "False"
