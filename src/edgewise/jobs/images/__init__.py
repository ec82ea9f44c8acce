"""One network trained on images: `edgewise train` and `edgewise evaluate`."""
