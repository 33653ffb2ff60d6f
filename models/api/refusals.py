"""What a program is told when it cannot have what it asked for: OpenAI's error object, with the right status."""

from typing import Any

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from models.errors import (
    AccessDenied,
    BadInput,
    Cancelled,
    CheckpointNotFound,
    DoesNotFit,
    EngineClosed,
    HubUnreachable,
    ModelError,
    UnsupportedCheckpoint,
    UnsupportedPlacement,
)
from models.schema import Text

CLIENT_LEFT = 499  # nginx's number; nobody is there to read it, but the metrics count it

# The first row that an error is an instance of: its status and its code.
_STATUS: tuple[tuple[type[ModelError], int, str], ...] = (
    (HubUnreachable, 503, "model_unreachable"),
    (AccessDenied, 403, "model_access_denied"),
    (CheckpointNotFound, 404, "model_not_found"),
    (UnsupportedCheckpoint, 400, "model_not_supported"),
    (UnsupportedPlacement, 400, "model_not_supported"),
    (BadInput, 400, "invalid_value"),
    (DoesNotFit, 503, "insufficient_memory"),
    (EngineClosed, 503, "model_unloaded"),
    (Cancelled, CLIENT_LEFT, "cancelled"),
    (ModelError, 500, "engine_failed"),
)
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        text: what happened and what to do next.
        code: what a program can compare.
        param: the parameter at fault.
        retry_after: seconds after which the same may work.
    """

    def __init__(
        self,
        status: int,
        text: Text,
        code: str,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(text.en)
        self.status, self.text, self.code = status, text, code
        self.param, self.retry_after = param, retry_after


def refusal(error: Exception) -> Refused:
    """What `error` is for a program; what nobody raised on purpose says nothing of itself."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ModelError):
        status, code = next((status, code) for kind, status, code in _STATUS if isinstance(error, kind))
        retry_after = 5 if status == 503 else None
        param = "model" if status in (403, 404) else None
        return Refused(status, Text(error.en, error.zh), code, param, retry_after)
    return Refused(
        500,
        Text(
            "The server failed over this request; its log has the reason.",
            "服务器处理此请求时出错；原因见其日志。",
        ),
        "internal_error",
    )


def unsupported(param: str, why: Text | None = None) -> Refused:
    """Of a parameter that is known but cannot be honoured."""
    why = why or Text("leave it out", "请去掉它")
    return Refused(
        400,
        Text(f"{param} is not supported here: {why.en}.", f"此处不支持 {param}：{why.zh}。"),
        "unsupported_parameter",
        param,
    )


def error_object(refused: Refused, chinese: bool) -> dict[str, Any]:
    """OpenAI's form, with all four fields. Source: the error object of platform.openai.com/docs/api-reference."""
    kind = _TYPES.get(refused.status, "server_error" if refused.status >= 500 else "invalid_request_error")
    message = refused.text.zh if chinese else refused.text.en
    return {"error": {"message": message, "type": kind, "param": refused.param, "code": refused.code}}


def respond(request: HTTPConnection, error: Exception) -> JSONResponse:
    """The answer to a request that ended in `error`, in the language that it asks for."""
    refused = refusal(error)
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
    if refused.retry_after:
        headers["Retry-After"] = str(refused.retry_after)
    return JSONResponse(error_object(refused, speaks_chinese(request)), refused.status, headers=headers)


def speaks_chinese(request: HTTPConnection) -> bool:
    return wants_chinese(request.headers.get("accept-language", ""))


def wants_chinese(accept_language: str) -> bool:
    """Whether the first language of an Accept-Language header is Chinese."""
    first = max(accept_language.split(","), key=_weight, default="")
    return first.strip().lower().startswith("zh")


def _weight(entry: str) -> float:
    try:
        return float(entry.partition(";q=")[2] or 1.0)
    except ValueError:
        return 0.0
