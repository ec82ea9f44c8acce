"""Many runs, made into evidence."""

from edgewise.studies.activation_figures import draw_functions
from edgewise.studies.configure import STUDIES, grid, make_study
from edgewise.studies.dense_studies import DENSE_MODELS, FunctionStudy, TabularStudy
from edgewise.studies.encoder_study import ALL_ENCODERS, EncoderStudy
from edgewise.studies.engine import make_engine
from edgewise.studies.image_study import IMAGE_MODELS, ImageStudy
from edgewise.studies.processes import LocalEngine
from edgewise.studies.ray_engine import RayEngine
from edgewise.studies.report import write_report
from edgewise.studies.runner import run_study
from edgewise.studies.status import StudyStatus, TrialStatus, read_status
from edgewise.studies.study import AbstractStudy, Variant
from edgewise.studies.text_study import TEXT_MODELS, TextStudy
