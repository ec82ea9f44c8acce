"""Figures and pages of one style: colours that stay apart, files without a date."""

from edgewise.drawing.page import Picture, columns, render
from edgewise.drawing.save import png, save_png, settle, svg
from edgewise.drawing.style import COLOURS, GREY, LINES, MARKERS, clean, message, numbers
