"""Many runs, made into evidence."""

from edgewise.studies.kinds.configure import STUDIES, grid, make_study
from edgewise.studies.kinds.dense_studies import DENSE_MODELS, FunctionStudy, TabularStudy
from edgewise.studies.kinds.encoder_study import ALL_ENCODERS, EncoderStudy
from edgewise.studies.kinds.image_study import IMAGE_MODELS, ImageStudy
from edgewise.studies.kinds.study import AbstractStudy, Variant
from edgewise.studies.kinds.text_study import TEXT_MODELS, TextStudy
from edgewise.studies.report.report import write_report
from edgewise.studies.running.engine import make_engine
from edgewise.studies.running.processes import LocalEngine
from edgewise.studies.running.ray_engine import RayEngine
from edgewise.studies.running.runner import run_study
from edgewise.studies.running.status import StudyStatus, TrialStatus, read_status
