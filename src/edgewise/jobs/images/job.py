"""The image job: one network trained on images. One flat, frozen piece of data."""

from dataclasses import asdict, dataclass, fields, replace
from types import UnionType
from typing import Any, get_args, get_type_hints

from edgewise.bases import BASES
from edgewise.core import InputError, did_you_mean
from edgewise.data import IMAGES
from edgewise.jobs.images.backends import BACKENDS
from edgewise.jobs.images.recipes import Recipe, recipe_for
from edgewise.models.vision import FORMS
from edgewise.train import Settings

MODELS = ("kan", "mlp", "cnn")


@dataclass(frozen=True)
class ImageJob:
    """What is trained, on what and how; None leaves a choice to the recipe (`image_recipes`).

    Attributes:
        dataset: mnist, fashion_mnist, digits, or module:function.
        model: kan, mlp or cnn.
        use_kan_convolution: A convolutional KAN in place of a dense one.
        form: Of a convolutional KAN: expanded (every edge a function) or bottleneck.
        num_layers: Layers, the last one included: 2 layers of 64 are [784, 64, 10] on MNIST.
        hidden_dim: Hidden units; in a convolutional network the channels of the last stage.
        parameters: The largest hidden_dim with at most so many parameters; 0 takes hidden_dim.
        basis: What a KAN's functions are made of: bspline, gaussian, fourier, wavelet, chebyshev,
            rational, or module:Class.
        grid_size: How fine the basis is: cells, centres, harmonics, degree.
        normalize: Whether a dense KAN's inputs, layer by layer, are normalised over the batch.
        grid_update_epochs: Knots of a dense KAN follow the data before each of the first so
            many epochs; 0 is never.
        num_epochs: Passes over the training images.
        batch_size: Images in a batch.
        learning_rate: AdamW's highest learning rate; it climbs and falls as a cosine.
        weight_decay: AdamW's weight decay.
        dropout: The probability of dropping a hidden unit.
        label_smoothing: The part of a label that is spread over all classes in training.
        sparsity: The weight of the L1 and entropy penalty on a KAN's edges.
        shift: Move training images by up to so many pixels, up or down and left or right.
        mirror: Mirror half of the training images; None is where a mirrored one keeps its class.
        limit: At most so many training images; 0 is all.
        data_dir: Where data sets lie; by default $EDGEWISE_DATA, else the user's cache.
        seed: Of initial values, order, augmentation and dropout.
        eval_report_count: How many lines of progress; at most one an epoch.
        save_path: Where the model goes; figures and history go beside it.
        cpu: Use the CPU even where there is an accelerator.
        backend: What trains: torch, mlx (pip install 'edgewise[mlx]'), or module:function.

    """

    dataset: str = "mnist"
    model: str = "kan"
    use_kan_convolution: bool = False
    form: str | None = None
    num_layers: int | None = None
    hidden_dim: int | None = None
    parameters: int = 0
    basis: str | None = None
    grid_size: int | None = None
    normalize: bool | None = None
    grid_update_epochs: int = 0
    num_epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    dropout: float | None = None
    label_smoothing: float | None = None
    sparsity: float = 0.0
    shift: int | None = None
    mirror: bool | None = None
    limit: int = 0
    data_dir: str | None = None
    seed: int = 0
    eval_report_count: int = 10
    save_path: str = "trained_kan_model.safetensors"
    cpu: bool = False
    backend: str = "torch"

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise InputError(f"unknown model {self.model!r}: {did_you_mean(self.model, MODELS)}")
        if self.form is not None and self.form not in FORMS:
            raise InputError(f"unknown form {self.form!r}: {did_you_mean(self.form, FORMS)}")
        for registry, name in (
            (IMAGES, self.dataset),
            (BASES, self.basis),
            (BACKENDS, self.backend),
        ):
            if name is not None:
                registry.resolve(name)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise InputError(f"{name} must be at least {least}, got {value!r}")
        for name in ("dropout", "label_smoothing"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise InputError(f"{name} must lie in [0, 1), got {value!r}")
        self._check_combination()
        self.settings()

    def _check_combination(self) -> None:
        """Refuses options that would do nothing with this network."""
        kan, dense = self.model == "kan", self.kind == "kan"
        for name, asked, fits, which in (
            ("use_kan_convolution", self.use_kan_convolution, kan, "model=kan"),
            ("form", self.form is not None, self.kind == "conv_kan", "use_kan_convolution"),
            ("normalize", self.normalize is not None, dense, "a dense KAN"),
            ("grid_update_epochs", self.grid_update_epochs, dense, "a dense KAN"),
            (
                "grid_update_epochs",
                self.grid_update_epochs,
                self.backend == "torch",
                "backend=torch",
            ),
            ("basis", self.basis is not None, kan, "model=kan"),
            ("grid_size", self.grid_size is not None, kan, "model=kan"),
            ("sparsity", self.sparsity, kan, "model=kan"),
            ("parameters", self.parameters, self.hidden_dim is None, "hidden_dim left out"),
        ):
            if asked and not fits:
                raise InputError(f"{name} goes with {which} only: leave it out")

    @property
    def kind(self) -> str:
        """The network: ``"kan"``, ``"conv_kan"``, ``"mlp"`` or ``"cnn"``."""
        return "conv_kan" if self.use_kan_convolution else self.model

    def resolved(self) -> "ImageJob":
        """The same job with every choice of the recipe written out."""
        recipe = recipe_for(self.kind, self.dataset)
        names = {f.name for f in fields(Recipe)} - _only_of_others(self)
        open_ones = {name for name in names if getattr(self, name) is None}
        return replace(self, **{name: getattr(recipe, name) for name in open_ones})

    def settings(self) -> Settings:
        """How it is trained."""
        recipe = recipe_for(self.kind, self.dataset)

        def chosen(name: str) -> Any:
            own = getattr(self, name)
            return getattr(recipe, name) if own is None else own

        return Settings(
            epochs=chosen("num_epochs"),
            learning_rate=chosen("learning_rate"),
            weight_decay=chosen("weight_decay"),
        )

    def as_dict(self) -> dict[str, Any]:
        """The job as JSON can hold it."""
        return asdict(self)


_LEAST = {
    "num_layers": 1,
    "hidden_dim": 1,
    "parameters": 0,
    "grid_size": 1,
    "grid_update_epochs": 0,
    "num_epochs": 1,
    "batch_size": 1,
    "sparsity": 0,
    "shift": 0,
    "limit": 0,
    "seed": 0,
    "eval_report_count": 0,
}


def _only_of_others(job: ImageJob) -> set[str]:
    """What this network has no use for stays None."""
    unused = set() if job.kind == "conv_kan" else {"form"}
    if job.kind != "kan":
        unused.add("normalize")
    if job.model != "kan":
        unused |= {"basis", "grid_size"}
    if job.parameters:
        unused.add("hidden_dim")
    return unused


def make_image_job(values: dict[str, Any], where: str = "the configuration") -> ImageJob:
    """A job from plain values, each key and type checked.

    Args:
        values: Field to value, as read from JSON or the command line.
        where: Where they come from, for the message.

    Raises:
        InputError: For an unknown key (with the nearest known one), or a value of the wrong type or
            out of range.

    Example:
        >>> make_image_job({"dataset": "digits", "hidden_dim": 8}).kind
        'kan'
        >>> make_image_job({"hidden": 8})
        Traceback (most recent call last):
        edgewise.core.errors.InputError: the configuration has an unknown key 'hidden': did you
        mean 'hidden_dim'? ...

    """
    kinds = get_type_hints(ImageJob)
    for key, value in values.items():
        if key not in kinds:
            raise InputError(f"{where} has an unknown key {key!r}: {did_you_mean(key, kinds)}")
        accepted = get_args(kinds[key]) if isinstance(kinds[key], UnionType) else (kinds[key],)
        wide = (*accepted, int) if float in accepted else accepted
        if not isinstance(value, wide) or (isinstance(value, bool) and bool not in accepted):
            raise InputError(f"{where}: {key} must be {_WORDS[accepted[0]]}, got {value!r}")
    return ImageJob(**values)


_WORDS = {str: "a word", int: "a whole number", float: "a number", bool: "true or false"}
