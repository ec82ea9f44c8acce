"""From a table to its formulas: `edgewise formula`."""
