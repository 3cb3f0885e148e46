"""``python docs/screenshots.py`` draws the pictures of README and docs again, from the sample case, in Chromium.

Needs ``pip install -e ".[test]"`` and an installed Chromium; downloads nothing.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

import evtx_analyzer

HERE = Path(__file__).parent
CASE = HERE.parent / "samples" / "kb-3212877"
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
# File, width, height, color scheme, and the section at the top of the picture.
PICTURES = (
    ("report-light.png", 1000, 820, "light", "verdict"),
    ("report-time-line.png", 1000, 760, "light", "time"),
    ("report-dark.png", 1000, 760, "dark", "time"),
    ("report-phone.png", 390, 760, "light", "verdict"),
)


def main() -> int:
    """Draw all pictures beside this file."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        sys.stderr.write("Chromium is not installed; on Debian: apt-get install chromium\n")
        return 1
    with TemporaryDirectory() as folder, sync_playwright() as driver:
        page = Path(folder, "report.html")
        evtx_analyzer.analyze(CASE).save(page)
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        for name, width, height, scheme, section in PICTURES:
            _draw(browser, page, HERE / name, (width, height), scheme, section)
        browser.close()
    return 0


def _draw(browser: Browser, page: Path, to: Path, size: tuple[int, int], scheme: str, section: str) -> None:
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
    tab = context.new_page()
    tab.goto(f"{page.as_uri()}#{section}" if section != "verdict" else page.as_uri())
    tab.screenshot(path=to)
    context.close()


if __name__ == "__main__":
    sys.exit(main())
