"""Times to vectors."""

from edgewise.encoders.base import ENCODERS, AbstractTimeEncoder, make_encoder
from edgewise.encoders.fourier import FourierTime, fixed_fourier_time
from edgewise.encoders.kmote import EXPERTS, KMOTE
from edgewise.encoders.lete import LeTE
from edgewise.encoders.mammote import KANMAMMOTE
from edgewise.encoders.pointwise import AbstractPointwiseEncoder
from edgewise.encoders.position import LearnedPosition
from edgewise.encoders.raw import RawTime
from edgewise.encoders.sinusoidal import Sinusoidal
from edgewise.encoders.time2vec import Time2Vec
