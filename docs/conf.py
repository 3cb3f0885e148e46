"""Sphinx: ``python -m sphinx -W -b html docs build/docs`` makes the site; any warning fails it."""

from evtx_analyzer.version import VERSION

project = "evtx-analyzer"
author = "the evtx-analyzer authors"
version = release = VERSION
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
html_theme = "furo"
html_title = f"evtx-analyzer {VERSION}"
html_copy_source = False
# Prompts, logs and YAML with placeholders are not always what their language's lexer expects.
suppress_warnings = ["misc.highlighting_failure"]
