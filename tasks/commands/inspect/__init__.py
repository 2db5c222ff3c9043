"""mode=inspect: what is in a data set, what is wrong with it, and whether training on it would be sound."""
