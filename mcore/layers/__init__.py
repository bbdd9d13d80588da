"""What the layers hold along a path: hidden states, their likeness to those of the ends, and read-outs."""
