"""Whole networks."""

from edgewise.models.sequence import SequenceClassifier
