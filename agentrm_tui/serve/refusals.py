"""Errors as OpenAI's clients know them: a status, and an object that names what was wrong."""

from __future__ import annotations

from typing import Any

UNKNOWN_FIELD = "unknown_parameter"
UNSUPPORTED = "unsupported_parameter"


class Refusal(Exception):
    """A request that is not answered with a reply.

    Args:
        status: Of HTTP.
        message: What is wrong, and what would do.
        param: The field of the body that is wrong, as a path such as `messages[2].content`; empty for none.
        code: A word that programs compare.
        retry_after: Seconds after which to ask again; 0 where that would not help.
    """

    def __init__(self, status: int, message: str, param: str = "", code: str = "", retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The error object."""
        return {
            "error": {
                "message": self.message,
                "type": _kind(self.status),
                "param": self.param or None,
                "code": self.code or None,
            }
        }

    def headers(self) -> dict[str, str]:
        """What stands beside it."""
        headers = {"retry-after": str(self.retry_after)} if self.retry_after else {}
        return headers | ({"www-authenticate": "Bearer"} if self.status == 401 else {})


def wrong(param: str, message: str, code: str = "invalid_value") -> Refusal:
    """A field with a value that does not work."""
    return Refusal(400, message, param, code)


def _kind(status: int) -> str:
    match status:
        case 401:
            return "authentication_error"
        case 429:
            return "rate_limit_error"
        case _ if status >= 500:
            return "server_error"
        case _:
            return "invalid_request_error"
