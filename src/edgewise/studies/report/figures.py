"""The figures of a study, each a function of its analysis that stands alone.

Example:
    >>> from edgewise.studies.report import figures
    >>> all(callable(getattr(figures, name)) for name in figures.__all__)
    True
"""

from edgewise.studies.report.figures_learning import (
    convergence_analysis,
    expert_usage,
    training_curves,
)
from edgewise.studies.report.figures_results import (
    accuracy_overview,
    confusion_matrices,
    statistical_significance,
)
from edgewise.studies.report.figures_time import temporal_patterns

__all__ = [
    "accuracy_overview",
    "confusion_matrices",
    "convergence_analysis",
    "expert_usage",
    "statistical_significance",
    "temporal_patterns",
    "training_curves",
]
