"""Models of the transformers library: loaded, quantised, and made to write."""
