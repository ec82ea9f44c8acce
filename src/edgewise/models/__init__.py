"""Whole networks."""

from edgewise.models.backbones import Transformer
from edgewise.models.hybrid import Hybrid
from edgewise.models.kan import KAN
from edgewise.models.mlp import MLP
from edgewise.models.sequence import SequenceClassifier
from edgewise.models.series import SeriesClassifier
from edgewise.models.sizes import count_parameters, largest
from edgewise.models.text import TextClassifier
from edgewise.models.vision import CNN, ConvKAN, Flattened
