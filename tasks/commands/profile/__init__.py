"""mode=profile: what a backbone and a head cost, beside the figures of the papers."""
