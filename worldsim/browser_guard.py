"""Which web pages may talk to a server of ours: its own, and none of another site.

A browser lets any page open a connection to any address and says whose page it is in `Origin`.
A site may also point its own name at this machine after its page has loaded (DNS rebinding); then
`Origin` and `Host` agree, and only the name in `Host` gives it away. Programs send no `Origin`.
"""

import socket
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit


def names_this_machine(host: str | None, names: Collection[str] = ()) -> bool:
    """Whether no other site can be behind the name that a request was sent to.

    Args:
        host: the request's `Host` header, with or without a port.
        names: under which this server is reached, beside `localhost`, the machine's own name and
            addresses in digits, which nobody can point elsewhere.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if host is None or not name:
        return False
    try:
        ip_address(name)
    except ValueError:
        own = {"localhost", socket.gethostname().lower(), *(each.lower() for each in names)}
        return name in own or name.endswith(".localhost")
    return True


def page_may_connect(
    origin: str | None,
    host: str | None,
    names: Collection[str] = (),
    origins: Collection[str] = (),
) -> bool:
    """Whether whoever sent these headers is no page of another site.

    Args:
        origin: the request's `Origin` header; None from programs.
        host: its `Host` header.
        names: see `names_this_machine`.
        origins: of other sites whose pages may connect, such as `http://localhost:3000`.
    """
    if origin is None or origin in origins:
        return True
    try:
        site = urlsplit(origin).netloc.lower()
    except ValueError:
        return False
    return bool(site) and site == (host or "").lower() and names_this_machine(host, names)


def address(scheme: str, host: str, port: int) -> str:
    """`scheme://host:port`, with brackets around an IPv6 address."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
