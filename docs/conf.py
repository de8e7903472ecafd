"""How Sphinx builds the documentation: Markdown by MyST, reference from docstrings, tutorials run and shown."""

import sys
from pathlib import Path

import irrepnet

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import from_package  # noqa: E402 (it lies beside this file)

project = "irrepnet"
author = "the irrepnet developers"
copyright = "the irrepnet developers; MIT licence"
version = release = irrepnet.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "*.py", "generated/*.inc.md"]

html_theme = "furo"
html_title = f"irrepnet {release}"
html_static_path = ["_static"]
html_css_files = ["irrepnet.css"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings say shapes and units
autodoc_member_order = "alphabetical"
autodoc_preserve_defaults = True  # as the source has them
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list of fields: properties among them have their own entry
napoleon_custom_sections = ["Reference"]

# The tutorials are scripts in cells. They are run when the pages are built, and a failure fails the build; what has
# not changed since is taken from _build/.jupyter_cache.
nb_custom_formats = {".py": ["from_package.read_tutorial", {}]}
nb_execution_mode = "cache"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True

from_package.write_pages(HERE)


def setup(app):
    """Connect what makes the reference readable."""
    app.connect("missing-reference", from_package.resolve_at_face)
    app.connect("autodoc-skip-member", from_package.skip_inherited_lists)
    app.connect("autodoc-process-docstring", from_package.join_property, priority=600)  # after Napoleon
    app.connect("autodoc-process-signature", from_package.shorten_signature)
