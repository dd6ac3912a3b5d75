"""Runs `clipway check` on folders and files, and prints what it found as a table.

Given the folder of cases that users report (each made by its own `make.py`), it also exports the demo model, and breaks
copies of the export in ways that a check must find.

    python scripts/check_folders.py --clipway target/release/clipway CASE...
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

DEMO = pathlib.Path(__file__).resolve().parent.parent / "examples" / "emoji-clip"
COLUMNS = ["pass", "warn", "fail"]


def broken(clipway: str, folder: pathlib.Path) -> list[pathlib.Path]:
    """The demo model as exported, and copies of it that are broken in one place each."""
    whole = folder / "export"
    command = [clipway, "export", DEMO / "emoji-clip.pt", "--model", DEMO / "emoji-clip.json", "--out", whole]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def changed(name: str, change) -> pathlib.Path:
        copy = folder / name
        shutil.copytree(whole, copy)
        change(copy)
        return copy

    def cut(copy: pathlib.Path) -> None:
        path = copy / "open_clip_model.safetensors"
        path.write_bytes(path.read_bytes()[:-1000])

    def flip(copy: pathlib.Path) -> None:
        path = copy / "open_clip_model.safetensors"
        path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\xc0\x7f")

    def edited(copy: pathlib.Path) -> None:
        path = copy / "open_clip_config.json"
        path.write_text(path.read_text().replace("0.48145466", "0.5"))

    return [
        whole,
        changed("export, cut", cut),
        changed("export, a NaN", flip),
        changed("export, mean edited", edited),
        changed("export, no config", lambda copy: (copy / "open_clip_config.json").unlink()),
        changed("export, no clipway.json", lambda copy: (copy / "clipway.json").unlink()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clipway", required=True)
    parser.add_argument("cases", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = broken(arguments.clipway, pathlib.Path(folder))
        print("| source | exit | pass | warn | fail | what fails, else what it warns of |")
        print("| --- | --- | --- | --- | --- | --- |")
        for source in [*arguments.cases, *made]:
            run = subprocess.run([arguments.clipway, "check", source, "--json"], capture_output=True, text=True)
            document = json.loads(run.stdout)
            points = document.get("points", [])
            of = {result: [one for one in points if one["status"] == result] for result in COLUMNS}
            fails = (f"{one['name']}: {one['found']}".replace(f"{source}", "it").splitlines()[0] for one in of["fail"])
            warns = ", ".join(one["name"] for one in of["warn"])
            what = "; ".join(fails) or f"warns of {warns}"
            if "error" in document:
                what = f"`[{document['error']['code']}]`"
            counts = " | ".join(str(len(of[result])) for result in COLUMNS)
            name = source.name if source in made else "/".join(source.parts[-2:])
            print(f"| {name} | {run.returncode} | {counts} | {what.replace('|', '/')} |")


if __name__ == "__main__":
    main()
