"""Inputs that write into the draft of the question: models, recipes, tasks, paths."""
