"""Speech recognition over two libraries: one way through a recording, and an adapter for each library."""
