"""Models in files."""

from edgewise.export.bundle import load, save
