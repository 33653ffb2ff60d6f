"""Models that come with Quintet, and the programs that made them."""
