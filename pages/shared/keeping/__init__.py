"""What visitors made, kept while they work on it, and the lists of it: one way for every kind of things."""
