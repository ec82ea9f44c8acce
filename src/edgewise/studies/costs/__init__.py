"""What encoders and layers cost: `edgewise bench`."""
