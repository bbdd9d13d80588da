"""Several questions asked as one: how that is carried out, and the studies of a model's parts and of its pre-training."""
