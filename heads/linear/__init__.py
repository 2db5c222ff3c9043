"""Linear classification."""
