"""The API alone, without pages: what `python -m models serve` runs."""

import uvicorn

from models.api.app import create_app
from models.loader import shared

STOPS_WITHIN = 3  # seconds from the signal to the end


def serve(host: str, port: int) -> None:
    """Serve until a signal ends it. Each engine has a process of its own, as beside the pages."""
    shared().isolated = True
    uvicorn.run(
        create_app(), host=host, port=port, log_level="warning", timeout_graceful_shutdown=STOPS_WITHIN
    )
