"""The figures of a study, each a function of its analysis that stands alone.

Example:
    >>> from edgewise.studies import figures
    >>> all(callable(getattr(figures, name)) for name in figures.__all__)
    True
"""

from edgewise.studies.figure_style import png, save_png, settle, svg
from edgewise.studies.figures_learning import convergence_analysis, expert_usage, training_curves
from edgewise.studies.figures_results import (
    accuracy_overview,
    confusion_matrices,
    statistical_significance,
)
from edgewise.studies.figures_time import temporal_patterns

__all__ = [
    "accuracy_overview",
    "confusion_matrices",
    "convergence_analysis",
    "expert_usage",
    "png",
    "save_png",
    "settle",
    "statistical_significance",
    "svg",
    "temporal_patterns",
    "training_curves",
]
