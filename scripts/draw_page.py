"""Draws the pictures of the page of `clipway serve` in docs/pictures, and checks what a browser sees on the way.

Exports and indexes the demo model and its images, serves them on a free port, and opens the page in Chromium. Fails if the page asks
anyone but its server for anything, logs an error that it should not, or does not answer the keyboard.

    pip install playwright pillow      # with Debian's `chromium`: no browser is downloaded
    python scripts/draw_page.py --clipway target/release/clipway [--out docs/pictures] [--all DIR]
"""

import argparse
import io
import pathlib
import shutil
import subprocess
import sys
import tempfile

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from served import DEMO, MODEL, Served

SIZE = {"width": 1100, "height": 720}
NARROW = {"width": 390, "height": 844}
LARGEST = 150_000


class Checks:
    """What went wrong, with each request that left the server and each error of the page."""

    def __init__(self, base: str):
        self.base, self.wrong = base, []

    def watch(self, page: Page) -> None:
        page.on("request", lambda request: self.hold(request.url.startswith((self.base, "data:", "blob:")), f"asks {request.url}"))
        page.on("pageerror", lambda error: self.hold(False, f"fails: {error}"))

    def hold(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)
            print(f"FAIL {what}")


def until(page: Page, condition: str) -> None:
    """Waits for a condition. The page's policy forbids the browser's own way, which evaluates text in the page."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise RuntimeError(f"it does not happen: {condition}")


def opened(browser: Browser, checks: Checks, size: dict = SIZE, scheme: str = "light", rest: str = "") -> Page:
    page = browser.new_context(viewport=size, color_scheme=scheme).new_page()
    checks.watch(page)
    page.goto(checks.base + "/" + rest)
    until(page, "document.getElementById('state').textContent.startsWith('Ready')")
    return page


def searched(page: Page, **fields: str) -> None:
    for name, value in fields.items():
        page.evaluate("name => { const box = document.getElementById(name).closest('details'); if (box) box.open = true; }", name)
        page.fill(f"#{name}", value)
    page.wait_for_timeout(400)
    until(page, "/ms\\.$/.test(document.getElementById('search-message').textContent) || document.querySelector('.bad')")
    until(page, "[...document.querySelectorAll('#found img')].filter((one) => one.getBoundingClientRect().top < innerHeight).every((one) => one.complete)")
    page.wait_for_timeout(200)


def keyboard(browser: Browser, checks: Checks) -> None:
    """A search without a mouse."""
    focus = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id"
    page = opened(browser, checks)
    checks.hold(page.evaluate(focus) == "query", "the query has no focus at first")
    page.keyboard.type("a lion")
    searched(page)
    checks.hold("query=a+lion" in page.url, f"the address does not keep the search: {page.url}")
    while "lion.png" not in (page.evaluate(focus) or ""):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    second = page.evaluate(focus)
    checks.hold(second.startswith("2:"), f"an arrow does not go to the second result, but to {second}")
    page.keyboard.press("Space")
    checks.hold(page.evaluate("document.getElementById('view').open"), "Space does not show a result large")
    page.keyboard.press("ArrowLeft")
    checks.hold(page.inner_text("#view-name").endswith("lion.png"), "an arrow does not show the one before")
    page.keyboard.press("Escape")
    page.wait_for_timeout(200)
    checks.hold(page.evaluate(focus).startswith("1:"), "the focus does not return to the result")
    page.keyboard.press("Enter")
    searched(page)
    checks.hold("like=" in page.url and page.inner_text("#chosen-name") == "like lion.png", "Enter does not search for more like one")
    page.reload()
    page.wait_for_selector("#found li")
    checks.hold(page.locator("#found li").first.get_attribute("aria-label").startswith("1: lion.png"), "a reload loses the search")


def draw(base: str, all_of: pathlib.Path, checks: Checks) -> None:
    with sync_playwright() as run:
        browser = run.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = opened(browser, checks)
        searched(page, query="a lion")
        page.screenshot(path=all_of / "search.png")
        page.locator("#found .frame").first.click()
        page.wait_for_timeout(600)
        page.screenshot(path=all_of / "large.png")
        page.keyboard.press("Escape")
        searched(page, path="*[")
        message = page.inner_text("#search-message")
        checks.hold(message.startswith("Path:") and "$" not in message, f"an error reads {message}")
        page.screenshot(path=all_of / "error.png")
        searched(page, path="nothing*")
        page.screenshot(path=all_of / "none.png")
        page = opened(browser, checks, scheme="dark", rest="#query=fruit&minus=a+coin")
        page.wait_for_selector("#found li")
        searched(page)
        page.screenshot(path=all_of / "search-dark.png")
        for scheme in ["light", "dark"]:
            page = opened(browser, checks, NARROW, scheme)
            searched(page, query="a lion")
            wide = page.evaluate("document.documentElement.scrollWidth")
            checks.hold(wide <= NARROW["width"], f"{wide} pixels wide on a screen of {NARROW['width']}")
            page.screenshot(path=all_of / f"narrow-{scheme}.png")
            page.click("#tab-classify")
            page.set_input_files("#files", [DEMO / "pictures" / f"{name}.png" for name in ["lion", "avocado", "scissors"]])
            page.wait_for_selector("article")
            page.wait_for_timeout(400)
            page.screenshot(path=all_of / f"classify-narrow-{scheme}.png", full_page=True)
            page.set_viewport_size(SIZE)
            page.screenshot(path=all_of / f"classify-{scheme}.png")
        keyboard(browser, checks)
        browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clipway", required=True)
    parser.add_argument("--out", type=pathlib.Path, help="where the pictures of the documents go")
    parser.add_argument("--all", type=pathlib.Path, help="where every picture goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        model, index, all_of = work / "emoji-clip", work / "photos.index", arguments.all or work
        all_of.mkdir(parents=True, exist_ok=True)
        for command in [
            ["export", *MODEL, "--out", str(model)],
            ["index", str(DEMO / "pictures"), "--model", str(model), "--index", str(index)],
        ]:
            subprocess.run([arguments.clipway, *command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        with Served(arguments.clipway, "--index", str(index), source=[str(model)], name="emoji-clip") as server:
            checks = Checks(server.base)
            draw(server.base, all_of, checks)
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            for name in ["search", "search-dark"]:
                bytes_of = io.BytesIO()
                Image.open(all_of / f"{name}.png").convert("RGB").save(bytes_of, "WEBP", quality=85, method=6)
                checks.hold(bytes_of.tell() <= LARGEST, f"{name} has {bytes_of.tell()} bytes")
                (arguments.out / f"{name}.webp").write_bytes(bytes_of.getvalue())
    print("failed" if checks.wrong else "passed")
    return 1 if checks.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
