"""What comes from the Hub and goes to it: models, data sets, names; nothing that a repository says is trusted."""
