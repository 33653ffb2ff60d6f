"""Quintet's entry: `streamlit run app.py`.

Streamlit loads this file twice: once as the server's module, where `app` is what it serves, and then
for every session as the script, where a page is chosen. `st.runtime.exists()` tells which.
"""

import streamlit as st

import models


def navigate() -> None:
    """Run the page that was asked for. Its links are drawn by the page's own frame, since a deep link
    that is the first request after a start runs the page without this file."""
    from pages.shared.frame import PAGES

    pages = [st.Page(page.file, title=page.title, default=number == 0) for number, page in enumerate(PAGES)]
    st.navigation(pages, position="hidden").run()


if st.runtime.exists():
    navigate()
else:
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    from starlette.middleware import Middleware

    from models.api.admission import Admission, told_of_end
    from models.api.beside import Beside
    from pages.shared.security_policy import SecurityPolicy
    from pages.shared.visitor import VisitorCookie

    models.shared().isolated = True  # what a visitor sends can at worst end a worker
    admission = Admission()

    @asynccontextmanager
    async def lifespan(_: st.App) -> AsyncIterator[None]:
        with told_of_end(admission):
            yield

    app = st.App(
        __file__,
        lifespan=lifespan,
        middleware=[
            Middleware(SecurityPolicy),
            Middleware(VisitorCookie),
            Middleware(Beside, admission=admission),
        ],
    )
