"""How Sphinx builds the site; needs no network."""

from importlib.metadata import version as installed_version

project = "Edgewise"
author = "The Edgewise developers"
copyright = "The Edgewise developers"
version = release = installed_version("edgewise")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build", "**/runs", "jupyter_execute"]

# The notebook is committed with its outputs; a test runs it with a tiny budget.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
# A shape such as Float[Tensor, "B L"] is read best as it stands in the source.
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# "Attributes" of a dataclass would otherwise be described twice.
napoleon_use_ivar = True

html_theme = "furo"
html_title = "Edgewise"
