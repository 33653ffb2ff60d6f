"""Pictures from web addresses that visitors type.

This machine may reach what its visitors cannot: its own ports, its neighbours, a cloud's metadata. So
only the public internet is connected to. The check is made on the address that a name has just resolved
to and that is then connected to, for every redirect anew: no name can change in between.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from models.errors import BadInput

BYTES = 20_000_000
SECONDS = 20.0
REDIRECTS = 5
# Not of the public internet though Python may call them global: protocol assignments (RFC 6890, a cloud's
# metadata among them), relays of 6to4 (RFC 7526), documentation (RFC 9637), and Azure's own services.
NOT_PUBLIC = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "168.63.129.16/32")))
HEADERS = (("User-Agent", "quintet"), ("Accept", "image/*"), ("Accept-Encoding", "identity"))


def fetch(address: str) -> bytes:
    """What is at a web address: at most BYTES of it, within SECONDS, name lookups apart.

    Raises:
        BadInput: not http or https, not of the public internet, unreachable, too large or too slow.
    """
    import httpcore2
    import httpx2

    public = _Public(time.monotonic() + SECONDS)
    with _explained(), httpcore2.ConnectionPool(network_backend=public) as pool:  # type: ignore[arg-type]
        url = httpx2.URL(address.strip())
        for _ in range(REDIRECTS + 1):
            if url.scheme not in ("http", "https") or not url.host:
                raise _no_address()
            target = httpcore2.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            )
            with pool.stream("GET", target, headers=HEADERS) as response:
                if response.status == 200:
                    return _body(response)
                url = url.join(_location(response))
    raise BadInput(
        f"The address redirects more than {REDIRECTS} times: give the address of the picture itself.",
        f"该网址重定向超过 {REDIRECTS} 次：请提供图片本身的网址。",
    )


def _location(response: Any) -> str:
    """Where a redirect leads."""
    place = {name.lower(): value for name, value in response.headers}.get(b"location")
    if response.status not in (301, 302, 303, 307, 308) or place is None:
        raise BadInput(
            f"The server answers {response.status} instead of a picture: check the address.",
            f"服务器返回 {response.status} 而不是图片：请检查网址。",
        )
    return bytes(place).decode("latin-1")


def _body(response: Any) -> bytes:
    body = bytearray()
    for piece in response.iter_stream():
        body += piece
        if len(body) > BYTES:
            raise BadInput(
                f"The picture has more than {BYTES // 1_000_000} MB: make it smaller, and upload it instead.",
                f"图片超过 {BYTES // 1_000_000} MB：请缩小后改为上传。",
            )
    return bytes(body)


@contextmanager
def _explained() -> Iterator[None]:
    """Turns what can go wrong on the way into sentences."""
    import httpcore2
    import httpx2

    try:
        yield
    except httpcore2.TimeoutException as error:
        raise BadInput(
            f"The server takes longer than {SECONDS:.0f} seconds: save the picture and upload it instead.",
            f"服务器响应超过 {SECONDS:.0f} 秒：请先保存图片，再上传。",
        ) from error
    except (httpx2.InvalidURL, httpcore2.UnsupportedProtocol) as error:
        raise _no_address() from error
    # The last three: a name that does not resolve, or cannot be one; a port that is none.
    except (
        httpcore2.NetworkError, httpcore2.ProtocolError, OSError, ValueError, OverflowError,
    ) as error:  # fmt: skip
        raise BadInput(
            "There is no answer from that address: check it, or save the picture and upload it instead.",
            "该网址没有响应：请检查网址，或先保存图片再上传。",
        ) from error


def _no_address() -> BadInput:
    return BadInput(
        "A picture's address begins with http:// or https:// and names a host: check what you typed.",
        "图片网址应以 http:// 或 https:// 开头并包含主机名：请检查输入内容。",
    )


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, and to no tunnel into something else."""
    ip: IPv4Address | IPv6Address = ip_address(address)
    if ip.is_multicast or ip.is_reserved or not ip.is_global or any(ip in net for net in NOT_PUBLIC):
        return False
    if isinstance(ip, IPv4Address):
        return True
    isatap = int(ip) >> 32 & 0xFDFFFFFF == 0x5EFE  # whatever the prefix (RFC 5214)
    return not (ip.is_site_local or ip.sixtofour or ip.teredo or isatap)


class _Public:
    """httpcore2's NetworkBackend to the public internet, until a deadline (by time.monotonic())."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> "_Stream":
        import httpcore2

        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not all(map(is_public, addresses)):
            raise BadInput(
                f"{host} is not on the public internet: save the picture and upload it instead.",
                f"{host} 不在公共互联网上：请先保存图片，再上传。",
            )
        for number, address in enumerate(addresses, 1):
            try:
                stream = httpcore2.SyncBackend().connect_tcp(address, port, _left(self._deadline))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if number == len(addresses):
                    raise
            else:
                break
        return _Stream(stream, self._deadline)


class _Stream:
    """httpcore2's NetworkStream that ends at a deadline, however slowly the bytes drip."""

    def __init__(self, stream: Any, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline
        self.close, self.get_extra_info = stream.close, stream.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> Any:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def start_tls(self, ssl_context: Any, server_hostname: str | None, timeout: float | None) -> "_Stream":
        secure = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _Stream(secure, self._deadline)


def _left(deadline: float) -> float:
    """Seconds until then. Raises httpcore2.ReadTimeout when there are none."""
    import httpcore2

    if (left := deadline - time.monotonic()) <= 0:
        raise httpcore2.ReadTimeout
    return left
