"""Terms of what a training minimises."""

from edgewise.losses.balance import load_balance
from edgewise.losses.smoothness import smoothness, sobolev, total_variation
from edgewise.losses.sparsity import sparsity
