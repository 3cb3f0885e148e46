"""A real browser for the tests of pages: the Chromium that the system has, never one that is downloaded here."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)


def executable():
    """Path of Chromium, None where it is not installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def chromium():
    """A started browser; skips the test, saying why, where Chromium or Playwright is absent."""
    playwright = pytest.importorskip("playwright.sync_api", reason='needs Playwright: pip install -e ".[test]"')
    path = executable()
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
