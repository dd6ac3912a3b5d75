"""Checks `clipway pull` and `push` against the reference client, `huggingface_hub`, on one fake hub.

Both clients upload, both download, and each reads the cache that the other filled, with the network switched off. Then
open_clip loads by `hf-hub:` what clipway pushed, and computes the same text features as from the folder itself. The model
cards that `export` and `push` write are read and validated by `huggingface_hub`, and run as the Python in them says.

    cargo build --release -p clipway-cli && cargo build -p clipway-hub --example fake_hub
    python scripts/check_hub.py target/release/clipway target/debug/examples/fake_hub

Needs open_clip_torch 3.3.0, transformers 5, PyYAML and huggingface_hub 2. Nothing outside of this machine is asked.
"""

import filecmp
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "examples" / "emoji-clip"

# Runs in a process of its own: the client reads its settings when it is imported.
REFERENCE = {
    "upload": "from huggingface_hub import HfApi; a = HfApi(); a.create_repo({repo!r}); "
              "a.upload_folder(repo_id={repo!r}, folder_path={path!r})",
    "download": "from huggingface_hub import snapshot_download; print(snapshot_download({repo!r}))",
    "features": "import open_clip, torch; m, _ = open_clip.create_model_from_pretrained({repo!r}); m.eval(); "
                "t = open_clip.get_tokenizer({repo!r}); "
                "print(m.encode_text(t(['a lion', 'zwei Hunde'])).double().sum(1).tolist())",
    "card": "import json; from huggingface_hub import ModelCard; c = ModelCard.load({path!r}); c.validate(); "
            "assert yaml_equal(c, {path!r}); print(json.dumps(c.data.to_dict()))",
    "example": "import re; text = open({path!r}).read(); code = re.search('```python\\n(.*?)```', text, re.S).group(1); "
               "exec(code.replace('image.jpg', {image!r}).replace('PATH/TO/THIS/FOLDER', {folder!r}))",
}
# The front matter says the same to a YAML library as to the client that writes it again.
YAML_EQUAL = '''
def yaml_equal(card, path):
    import yaml
    from huggingface_hub import ModelCardData
    inside = yaml.safe_load(open(path).read().split('---')[1])
    return inside == card.data.to_dict() == ModelCardData(**inside).to_dict()
'''

# Front matter of the cards of the demo model.
CARD = {"license": "mit", "library_name": "open_clip", "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip", "clipway"]}


class Check:
    def __init__(self, clipway, address, token):
        self.clipway, self.failed, self.passed = clipway, 0, 0
        self.env = os.environ | {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HUB_DISABLE_XET": "1",
                                 "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HOME"]:
            self.env.pop(name, None)

    def run(self, command, cache, offline):
        env = self.env | {"HF_HUB_CACHE": str(cache)} | ({"HF_HUB_OFFLINE": "1"} if offline else {})
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise RuntimeError(f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout.strip()

    def reference(self, what, cache, offline=False, **values):
        text = YAML_EQUAL + REFERENCE[what].format(**values)
        return self.run([sys.executable, "-W", "ignore", "-c", text], cache, offline).splitlines()[-1:]

    def ours(self, *command, cache, offline=False):
        return self.run([self.clipway, *map(str, command)], cache, offline)

    def case(self, name, run):
        try:
            detail = run()
            self.passed += 1
            print(f"passed  {name}: {detail}")
        except (RuntimeError, AssertionError, subprocess.TimeoutExpired) as error:
            self.failed += 1
            print(f"FAILED  {name}: {error}")


def same(left, right, ignored=()):
    """Asserts that two folders hold the same files; returns what was compared."""
    def files(folder):
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        return sorted(name for name in found if name not in ignored)
    left, right = pathlib.Path(left), pathlib.Path(right)
    assert files(left) == files(right), f"{files(left)} and {files(right)}"
    assert files(left), "nothing to compare"
    differing = [name for name in files(left) if not filecmp.cmp(left / name, right / name, shallow=False)]
    assert not differing, f"other bytes in {differing}"
    return f"{len(files(left))} files, the same bytes"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    clipway, fake = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:])
    server = subprocess.Popen([fake], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    address, token = server.stdout.readline().split()
    check = Check(clipway, address, token)
    # The card names its repository, and `clipway.json` lists the card.
    hidden, ours = {".gitattributes"}, {".gitattributes", "README.md", "clipway.json"}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        made, a, b, c = (folder / name for name in ["model", "cache-a", "cache-b", "cache-c"])
        check.ours("export", DEMO / "emoji-clip.pt", "--model", DEMO / "emoji-clip.json", "--license", "mit", "--out", made,
                   cache=folder / "none")

        def upload():
            check.reference("upload", folder / "none", repo="me/theirs", path=str(made))
            return "by the reference client"

        def pull(repo, cache, offline=False, ignored=hidden):
            out = folder / f"{repo.replace('/', '-')}-{cache.name}{'-offline' if offline else ''}"
            check.ours("pull", repo, "--out", out, *(["--offline"] if offline else []), cache=cache, offline=offline)
            return same(made, out, ignored)

        def download(repo, cache, offline=False, ignored=hidden):
            return same(made, *check.reference("download", cache, offline, repo=repo), ignored)

        def push():
            check.ours("push", made, "--repo-id", "me/ours", cache=folder / "none")
            again = json.loads(check.ours("push", made, "--repo-id", "me/ours", "--json", cache=folder / "none"))
            return f"and once more: {json.dumps(again)[:200]}"

        def features():
            theirs = check.reference("features", c, repo="hf-hub:me/ours")
            local = check.reference("features", c, repo=f"local-dir:{made}")
            assert theirs == local and theirs, f"{theirs} and {local}"
            return f"sums of text features {theirs[0]}"

        check.case("upload", upload)
        check.case("their upload, our pull", lambda: pull("me/theirs", a))
        check.case("our cache, their client, offline", lambda: download("me/theirs", a, True))
        check.case("push", push)
        check.case("our push, their download", lambda: download("me/ours", b, ignored=ours))
        check.case("their cache, our pull, offline", lambda: pull("me/ours", b, True, ours))
        check.case("our verify of their cache", lambda: check.ours("verify", "hf-hub:me/ours", "--offline", cache=b, offline=True)
                   .splitlines()[0])
        check.case("open_clip loads our push", features)

        def own_tokenizer():
            check.ours("export", made, "--to", "transformers", "--out", folder / "hf", cache=c)
            check.ours("export", folder / "hf", "--out", folder / "named", cache=c)
            check.ours("push", folder / "named", "--repo-id", "me/named", cache=c)
            theirs = check.reference("features", c, repo="hf-hub:me/named")
            local = check.reference("features", c, repo=f"local-dir:{folder / 'named'}")
            assert theirs == local and theirs, f"{theirs} and {local}"
            return f"whose tokenizer is in the repository: sums of text features {theirs[0]}"

        def cards():
            found = []
            for target, library in [("open_clip", "open_clip"), ("transformers", "transformers"), ("onnx", "open_clip_inference")]:
                out = folder / f"card-{target}"
                check.ours("export", made, "--to", target, "--license", "My terms", "--license-link", "https://example.org", "--out", out,
                           cache=c)
                data = json.loads(check.reference("card", c, path=str(out / "README.md"))[0])
                expected = CARD | {"license": "other", "license_name": "my-terms", "license_link": "https://example.org",
                                   "library_name": library}
                if target == "onnx":
                    expected["tags"] = ["clip", "onnx", "clipway"]
                assert data == expected, f"{data} and {expected}"
                found.append(target)
            pushed = folder / "me-ours-cache-b-offline" / "README.md"
            data = json.loads(check.reference("card", c, path=str(pushed))[0])
            assert data == CARD, data
            return f"{', '.join(found)} and the pushed one, by huggingface_hub and a YAML library"

        def examples():
            image = str(DEMO / "pictures" / "lion.png")
            for target in ["open_clip", "transformers"]:
                out = folder / f"card-{target}"
                check.reference("example", c, path=str(out / "README.md"), image=image, folder=str(out))
            pushed = folder / "me-ours-cache-b-offline" / "README.md"
            check.reference("example", c, path=str(pushed), image=image, folder="")
            return "the Python of three cards runs: open_clip and transformers from a folder, open_clip from the repository"

        check.case("open_clip loads our push", own_tokenizer)
        check.case("model cards", cards)
        check.case("examples in cards", examples)
    server.stdin.close()
    print(f"{check.passed} passed, {check.failed} failed")
    sys.exit(check.failed > 0)


if __name__ == "__main__":
    main()
