"""A picture of one question's page of a report: `make picture`, or `python benchmarks/screenshot.py DIR`.

Writes the report of a finished build into a temporary folder, opens the page of one question in the Chromium
of this machine, and saves what a window of SCREEN shows, in at most 256 colours, so that the file is small
enough to commit.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import ViewportSize, sync_playwright

from paqa.errors import PaqaError
from paqa.report.write import write

ROOT = Path(__file__).parents[1]
SCREEN: ViewportSize = {"width": 1200, "height": 1100}
ITEM = "dialogue-00005:longest_pause:0"  # the row of docs/example-row.md
PICTURE = ROOT / "docs" / "question.png"
LARGEST = 300_000  # bytes of the PNG
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRAWN = "document.querySelector('.item .picture')?.width > 300"  # waveform and spectrogram are on the page


def chromium() -> str:
    """The path of a Chromium; PaqaError where this machine has none."""
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise PaqaError(
        f"found none of {', '.join(BROWSERS)}, expected one of them; run: apt-get install chromium"
    )


def photographed(page: Path, item: str, size: ViewportSize) -> bytes:
    """A PNG of the question's page as a window of `size` shows it. `page` is the report's index.html."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport=size, device_scale_factor=1)
        tab.goto(f"{page.as_uri()}#/item/{quote(item, safe='')}")
        tab.wait_for_function("performance.getEntriesByName('paqa-shown').length")
        if not tab.locator(".item").count():
            raise PaqaError(
                f"{item}: the build has no such question; `paqa report DIR` and its search list them"
            )
        tab.wait_for_function(DRAWN)
        tab.evaluate("new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve, 300)))")
        picture: bytes = tab.screenshot()
        browser.close()
    return picture


def quantised(picture: bytes) -> bytes:
    """The same PNG with a palette of 256 colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    target = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
    return target.getvalue()


def main() -> None:
    """Write the report, open the page, save the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=Path, help="the folder of a finished build")
    parser.add_argument("--item", default=ITEM, help=f"whose page (default: {ITEM})")
    parser.add_argument(
        "--out", type=Path, default=PICTURE, help="the PNG to write (default: docs/question.png)"
    )
    parser.add_argument("--height", type=int, default=SCREEN["height"], help="of the window (default: 1100)")
    args = parser.parse_args()
    try:
        save(args.build, args.item, args.out, {"width": SCREEN["width"], "height": args.height})
    except PaqaError as error:
        raise SystemExit(f"screenshot: {error}") from None


def save(build: Path, item: str, target: Path, size: ViewportSize) -> None:
    """Write the picture of a question; PaqaError where the build has none, or the picture is too large."""
    with tempfile.TemporaryDirectory() as folder:
        write(build, Path(folder) / "report")
        picture = quantised(photographed(Path(folder) / "report" / "index.html", item, size))
    if len(picture) > LARGEST:
        found = f"the picture has {len(picture)} bytes, expected at most {LARGEST}"
        raise PaqaError(f"{target}: {found}; lower --height")
    target.write_bytes(picture)
    print(f"{target}  {len(picture)} bytes, {size['width']} x {size['height']}")


if __name__ == "__main__":
    main()
