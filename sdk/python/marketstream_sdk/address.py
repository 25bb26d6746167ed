"""Where a server is: its base URL, checked, and the URLs below it."""

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """A base URL, taken apart.

    Attributes:
        root: Scheme, host and port.
        prefix: Path in front of all others, without a slash at its end; mostly empty.
    """

    root: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Take a URL apart.

        Args:
            url: Such as `https://prices.example.com` or `http://127.0.0.1:8080`.

        Raises:
            ValueError: It is not the base URL of an HTTP server.
        """
        parts = urlsplit(url.strip())
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"{url!r} is not an http or https address")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError(f"{url!r} must have no query and no credentials; tokens are given as such")
        _ = parts.port  # raises for what cannot be a port
        return cls(f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/"))

    def path(self, path: str) -> str:
        """Return a path of the server below the prefix."""
        return f"{self.prefix}/{path.lstrip('/')}"

    def url(self, path: str) -> str:
        """Return the same as a URL."""
        return self.root + self.path(path)
