"""The one live model whose parameters take the weights of any point, and what methods add to it, and what it is spared of computing."""
