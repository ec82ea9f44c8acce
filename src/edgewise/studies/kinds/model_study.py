"""Studies that compare models: what images, texts, tables and functions have in common."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from edgewise.core import InputError, Registry
from edgewise.layers.norms import KANLayer
from edgewise.losses import sparsity
from edgewise.studies.kinds.study import AbstractStudy, Variant


@dataclass(frozen=True)
class AbstractModelStudy(AbstractStudy):
    """Models × seeds on one data set, everything else equal.

    A model is a function or class that is called with what it has to know of the data
    (:meth:`sizes`), a width, and the keywords ``num_layers``, ``dropout`` and its own options.

    Attributes:
        models: What is compared: names, or module:name of what is called like them.
        model_options: Options for single models, by name.
        sparsity: The weight of the L1 and entropy penalty on a KAN's edges.
        rates: Factors on the learning rate of single parameters, by name, pattern or the word
            activations, for instance activations=0.1.
        unfreeze: The first epoch in which parameters learn, by name, pattern or the word
            activations, for instance activations=3.

    """

    subjects: ClassVar[str] = "models"
    shelf: ClassVar[Registry]

    models: tuple[str, ...] = ()
    model_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    sparsity: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)
    unfreeze: dict[str, int] = field(default_factory=dict)

    def check_subject(self, name: str) -> None:
        self.shelf.resolve(name)

    def sizes(self, dataset: Any) -> tuple[Any, ...]:
        """What a model has to know of the data: its first arguments."""
        raise NotImplementedError

    def make(self, variant: Variant, dataset: Any, width: int) -> nn.Module:
        maker = self.shelf.resolve(variant.subject)
        options = {"num_layers": self.num_layers, "dropout": self.dropout} | variant.options
        try:
            return maker(*self.sizes(dataset), width, **options)
        except TypeError as error:
            raise InputError(f"the model {variant.name!r} can't be made: {error}") from error

    def penalty(self, model: nn.Module, dataset: Any) -> Callable[[nn.Module], Tensor] | None:
        """Sparsity, measured on one batch of training examples."""
        if not self.sparsity or not any(isinstance(m, KANLayer) for m in model.modules()):
            return None
        sample = next(iter(self.batches(dataset, "train").epoch(0))).to(self.device).inputs
        return lambda model: self.sparsity * sparsity(model, sample)
