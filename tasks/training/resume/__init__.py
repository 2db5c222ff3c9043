"""Exact resume: a training that was stopped anywhere goes on as if it had not been."""
