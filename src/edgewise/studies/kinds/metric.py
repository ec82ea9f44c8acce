"""By what a study's variants are ranked: accuracy of classes, explained variance of numbers."""

from dataclasses import dataclass

CLASSES, NUMBERS = "classes", "numbers"
"""What is predicted: one of several classes, or a number."""


@dataclass(frozen=True)
class Metric:
    """A share between 0 and 1 that is the mean of one number for each test item.

    Attributes:
        key: What records and histories call it.
        name: What people call it.
        loss: What training brings down, with its unit.

    """

    key: str
    name: str
    loss: str


METRICS = {
    CLASSES: Metric("accuracy", "accuracy", "cross-entropy, nats"),
    NUMBERS: Metric("explained", "explained variance", "mean squared error, standardised"),
}
"""The metric of each task; explained variance is R² = 1 - mean (y - ŷ)² / var y."""
