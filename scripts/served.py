"""`clipway serve` with the demo model on a free port, for the scripts that check and measure it."""

import base64
import json
import os
import pathlib
import signal
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEMO = ROOT / "examples" / "emoji-clip"
MODEL = [str(DEMO / "emoji-clip.pt"), "--model", str(DEMO / "emoji-clip.json")]
NAME = "Emoji__demo"


def data_uri(path: pathlib.Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


class Served:
    """A server that runs within a `with`, and is ended by SIGTERM. `status` is its exit status then."""

    def __init__(self, clipway: str, *options: str, source: list[str] = MODEL, name: str = NAME):
        self.command = [clipway, "serve", *source, "--name", name, "--listen", "127.0.0.1:0", "--json", "--log", "off", *options]
        self.status: int | None = None

    def __enter__(self) -> "Served":
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        text = ""
        while not text.rstrip().endswith("\n}"):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"the server ended with status {self.process.wait()} before it stated its address")
            text += line
        self.base = json.loads(text)["address"]
        self.port = int(self.base.rsplit(":", 1)[1])
        return self

    def processor(self) -> float:
        """Processor time of the server in seconds (Linux)."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.status = self.process.wait(timeout=60)
