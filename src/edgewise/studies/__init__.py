"""Many runs, made into evidence."""

from edgewise.studies.report import write_report
from edgewise.studies.runner import run_study
from edgewise.studies.study import ALL_ENCODERS, Study, Variant, grid, make_study
