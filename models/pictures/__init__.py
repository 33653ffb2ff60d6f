"""Pictures: read from their bytes, drawn for people, fetched from public addresses, and boxes on them."""
