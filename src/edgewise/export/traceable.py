"""A copy of a model that can be traced: no shape and no path depends on values."""

import copy

from torch import nn

from edgewise.export.dense import DenseMixture, DensePointwise, FixedClock, UncheckedStreams
from edgewise.export.stepwise import StepwiseKAN, StepwiseMamba, StepwiseRecurrent

# Each takes the place of the class it is a form of; the narrower one first.
FORMS = (
    *(DensePointwise, FixedClock, DenseMixture, UncheckedStreams),
    *(StepwiseKAN, StepwiseRecurrent, StepwiseMamba),
)


def traceable(model: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation mode, that gives the same numbers and can be traced.

    What looks at values is replaced within it by a form that does not: a mixture computes all its
    experts and keeps the chosen ones, equal times are not shared, and recurrences become one
    operation that holds a single step. The weights are those of the model; none needs a gradient.

    Example:
        >>> model = ew.models.SequenceClassifier("kmote", num_classes=2, backbone="mamba").eval()
        >>> times, lengths = torch.rand(3, 4), torch.tensor([4, 3, 1])
        >>> torch.allclose(traceable(model)(times, lengths), model(times, lengths), atol=1e-5)
        True

    """
    twin = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for module in twin.modules():
        form = next((f for f in FORMS if isinstance(module, _original(f))), None)
        if form is not None:
            # A class of its own, made of both: what the form does not say stays as it was.
            own = type(module)
            module.__class__ = type(own.__name__, (form, own), {"__module__": own.__module__})
        if isinstance(module, FixedClock):
            module.prepare()
    return twin


def _original(form: type) -> type:
    """The class that it is a form of, which stands last among its bases."""
    return form.__bases__[-1]
