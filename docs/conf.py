"""Configuration of the documentation site: ``sphinx-build -W docs docs/_build``."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent / "_ext")]

import harness  # noqa: E402 - found by the path above

project = "mmkgc-harness"
author = "the mmkgc-harness developers"
project_copyright = author
release = version = harness.__version__

extensions = [
    "myst_nb",  # Markdown and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "references",
    "repository",
]
exclude_patterns = ["_build", "_ext", "README.md"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # outputs are stored: scripts/notebooks.py
nb_number_source_lines = False
suppress_warnings = ["myst.header"]
smartquotes = False  # an option begins with two hyphens

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"mmkgc-harness {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_copy_source = False
copybutton_prompt_text = "$ "
