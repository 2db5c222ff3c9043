"""mode=convert: a data set in another format."""
