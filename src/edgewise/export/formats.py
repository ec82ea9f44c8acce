"""Which model goes to which format: one table, which the documentation prints and tests hold."""

FORMATS = {
    "file": "`ew.save`, `ew.load`",
    "folder": "`save_pretrained`, `from_pretrained`, `push_to_hub`",
    "program": "`program` (`torch.export`)",
    "onnx": "`onnx`",
    "mlx": "`mlx`, `to_mlx`, `from_mlx`",
    "skops": "`save_pipeline`, `load_pipeline`",
}
"""Format to the functions of `edgewise.export` for it."""

_TORCH = ("file", "folder", "program", "onnx")

MODELS: dict[str, tuple[str, ...]] = {
    "KAN": (*_TORCH, "mlx"),
    "MLP": (*_TORCH, "mlx"),
    "Hybrid": _TORCH,
    "ConvKAN": (*_TORCH, "mlx"),
    "CNN": (*_TORCH, "mlx"),
    "SequenceClassifier": _TORCH,
    "SeriesClassifier": _TORCH,
    "TextClassifier": _TORCH,
    "time encoders": _TORCH,
    "KANLinear": (*_TORCH, "mlx"),
    "KANConv2d": (*_TORCH, "mlx"),
    "KernelActivation": _TORCH,
    "KAF": _TORCH,
    "SymbolicKAN": _TORCH,
    "KANRegressor, KANClassifier": ("skops",),
}
"""Model to the formats it goes to."""

REFUSALS = {
    "file": "a model is a torch.nn.Module, got {kind}: give the model_ of a fitted estimator",
    "folder": "a model is a torch.nn.Module, got {kind}: give the model_ of a fitted estimator",
    "program": "a model is a torch.nn.Module, got {kind}: give the model_ of a fitted estimator",
    "onnx": "a model is a torch.nn.Module, got {kind}: give the model_ of a fitted estimator",
    "mlx": "MLX has no twin of {kind}",
    "skops": "the pipeline must end in a KANRegressor or a KANClassifier, it ends in a {kind}",
}
"""What the functions of a format say to a model that does not go there; how the message begins."""


def table() -> str:
    """The table in Markdown.

    Example:
        >>> print(table().splitlines()[2])
        | `KAN` | yes | yes | yes | yes | yes | no |

    """
    head = ["", *FORMATS.values()]
    rows = [head, ["---", *[":---:"] * len(FORMATS)]]
    for model, goes in MODELS.items():
        names = ", ".join(name if " " in name else f"`{name}`" for name in model.split(", "))
        rows.append([names, *("yes" if form in goes else "no" for form in FORMATS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
