"""The networks in MLX: the same names and the same mathematics, with weights that go both ways.

`layout` says where each tensor goes and needs torch only. All else needs MLX (the extra ``mlx``)
and is imported where it is used: `networks` for the twins, and what they are made of below it.
"""

from edgewise.mlx.layout import Entry, entries
