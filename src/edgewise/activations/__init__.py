"""What learned functions look like, where the data lie."""

from edgewise.activations.figures import draw_functions, function_figure
from edgewise.activations.layers import AbstractFunctionLayer, function_layer
from edgewise.activations.learned import (
    LayerFunctions,
    has_functions,
    learned_functions,
    pack,
    unpack,
)
