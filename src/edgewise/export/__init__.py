"""Models in files."""

from edgewise.export.bundle import load, read_notes, save
from edgewise.export.card import model_card
from edgewise.export.formats import FORMATS, MODELS, table
from edgewise.export.hub import from_pretrained, push_to_hub, save_pretrained
from edgewise.export.mlx import from_mlx, mlx, to_mlx
from edgewise.export.onnx import onnx
from edgewise.export.pipeline import load_pipeline, save_pipeline
from edgewise.export.program import program
