"""mode=pack: a data set as tar shards."""
