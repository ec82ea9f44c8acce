"""Edgewise: Kolmogorov-Arnold networks, from functions on edges to evidence."""

from edgewise import bases as bases
from edgewise import core as core
from edgewise import data as data
from edgewise import encoders as encoders
from edgewise import export as export
from edgewise import layers as layers
from edgewise import losses as losses
from edgewise import models as models
from edgewise import train as train
from edgewise.export import load as load
from edgewise.export import save as save

__version__ = "0.1.0"
