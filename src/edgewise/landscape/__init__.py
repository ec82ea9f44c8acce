"""The loss around a model: spectra, lines, planes, sharpness, and figures of them."""

from edgewise.landscape.certificate import Certificate, Chord, Least
from edgewise.landscape.directions import random_direction
from edgewise.landscape.figures import draw_path, draw_slice, draw_spectrum, draw_watch, save
from edgewise.landscape.knots import flat_state
from edgewise.landscape.operators import operator
from edgewise.landscape.parts import Part, by_layer
from edgewise.landscape.path import Path, interpolate
from edgewise.landscape.sharpness import Sharpness, sharpness
from edgewise.landscape.slices import Slice, slices
from edgewise.landscape.spectrum import Eigenvalues, spectrum, top_eigenvalues, trace
from edgewise.landscape.watch import Watch
