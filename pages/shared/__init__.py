"""What the pages share; never a page itself."""
