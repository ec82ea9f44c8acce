"""The loss around a saved model: `edgewise landscape`."""
