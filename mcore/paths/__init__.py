"""Ways between two models: laid, fitted, aligned, measured and named. The coefficients themselves are in ``mcore.coefficients``."""
