"""Models for programs, over HTTP: the routes of OpenAI's API, on the same loader as the pages.

`app.create_app()` is an ASGI application. `forms` are the requests, `answers` turns an engine's events into
responses, `choice` finds the engine that a request names, `access` says who may ask.
"""
