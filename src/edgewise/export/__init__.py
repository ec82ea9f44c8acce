"""Models in files."""

from edgewise.export.bundle import load, read_notes, save
from edgewise.export.mlx import from_mlx, mlx, to_mlx
