"""The Fine-tune page: two recipes and how their training goes."""
