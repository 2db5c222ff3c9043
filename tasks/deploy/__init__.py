"""Models as files for other runtimes, and those runtimes behind the interface of a model."""
