"""Built-in data: scenes of coloured shapes, drawn from a seed and written in the layouts of real data sets."""
