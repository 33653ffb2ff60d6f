"""/docs: the OpenAPI document as a page that loads nothing from elsewhere."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

router = APIRouter()

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code { background: #8882; padding: 0 .2em; border-radius: .2em } summary { cursor: pointer; padding: .3rem 0 }
table { border-collapse: collapse; width: 100% } td { border-top: 1px solid #8884; padding: .3rem .5rem .3rem 0 }
td { vertical-align: top } :root { color-scheme: light dark }
"""


@router.get("/docs", include_in_schema=False)
def show_docs(request: Request) -> HTMLResponse:
    """Every route, what it does and what it takes."""
    document = request.app.openapi()
    operations = [
        _operation(document, method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(document["info"]["title"])
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title} API</title><style>{_STYLE}</style>'
        f"<h1>{title} API</h1><p>{escape(document['info']['description'])} "
        f'<a href="/openapi.json">openapi.json</a></p>{"".join(operations)}</html>'
    )


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    reference = next((body["schema"].get("$ref", "") for body in content.values()), "")
    form = document.get("components", {}).get("schemas", {}).get(reference.rpartition("/")[2], {})
    required = form.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in form.get("properties", {}).items()
    )
    summary = f"<code>{method.upper()} {escape(path)}</code> {escape(operation.get('description', ''))}"
    return (
        f"<details><summary>{summary}</summary><table>{rows}</table></details>"
        if rows
        else f"<p>{summary}</p>"
    )
