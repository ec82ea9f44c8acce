"""Whole networks."""

from edgewise.models.kan import KAN
from edgewise.models.mlp import MLP
from edgewise.models.sequence import SequenceClassifier
from edgewise.models.sizes import count_parameters, largest
from edgewise.models.vision import CNN, ConvKAN
