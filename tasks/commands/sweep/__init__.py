"""`-m`: one run for every combination of listed values, and what came of them side by side."""
