"""Several processes that train or evaluate one model together. `world` and `launch` import nothing heavy."""
