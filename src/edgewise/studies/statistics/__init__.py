"""Statistics of paired comparisons, and what may be claimed by them."""

from edgewise.studies.statistics.calibration import calibrate
from edgewise.studies.statistics.comparison import compare_pairs
from edgewise.studies.statistics.crossed import (
    Difference,
    crossed_difference,
    crossed_differences,
    crossed_mean,
)
from edgewise.studies.statistics.measures import (
    bootstrap_interval,
    expected_calibration_error,
    hedges_g,
    holm,
    mcnemar,
    mean_interval,
    sign_flip,
    smallest_sign_flip_p,
    superiority,
)
from edgewise.studies.statistics.verdicts import headline, verdict
