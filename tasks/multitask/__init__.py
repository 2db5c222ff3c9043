"""Several heads on one backbone: what there is to it beyond a single head."""
