"""How much of a document is read at most, whoever sent it."""

MiB = 1024 * 1024

MOST_BYTES = 50 * MiB  # of a file
MOST_UNPACKED = 200 * MiB  # of what is in a docx, which is a zip
MOST_PAGES = 2000
MOST_CHARACTERS = 1_000_000  # no context has room for more
SECONDS = 30.0  # in which as many pages are read as can be
MEMORY = 1024 * MiB  # of the process that reads a PDF or a docx

CUT = "[…]"  # stands where something is missing
