"""A project of somebody else, who has Trident installed and edits none of it.

`locate.py` takes the backbone alone: its own head on three named features, its own Lightning task, its own data.

    PYTHONPATH=examples python -m foreign_project.locate

`centre_head.py` is a detection head that `tasks.run` trains, evaluates and saves as it does its own; `head/centre.yaml`
names it.

    PYTHONPATH=examples python -m tasks.run --config-dir=examples/foreign_project head=centre

PYTHONPATH stands for what installing a project does.
"""
