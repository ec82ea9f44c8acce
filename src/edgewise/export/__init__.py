"""Models in files."""

from edgewise.export.bundle import load, read_notes, save
