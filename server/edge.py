"""The edge of the server: what every request has to pass, and what every answer carries.

Requests: the Host header is one of ours (a page of another name must not reach a server on
localhost by DNS), the Origin is ours, a change is asked for by our own pages (CSRF), one address
does not ask too much. Answers: security headers, and every error turned into
``application/problem+json`` (RFC 9457), here and nowhere else.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections import OrderedDict
from urllib.parse import quote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from rooms.errors import (
    AlreadyJoined,
    Internal,
    MessageMalformed,
    MessageTooFrequent,
    MessageTooLarge,
    MethodRefused,
    NothingToPlay,
    NotSignedIn,
    OriginRefused,
    PageUnknown,
    TingxunError,
)
from server.config import Config
from server.keys import CONFIG, PAGES
from server.protocol import Pace

logger = logging.getLogger(__name__)

REQUESTED_WITH = "tingxun"
REMEMBERED_ADDRESSES = 10_000
_RETRY_AFTER_S = "3"
"""For programs that would otherwise ask at once again, by themselves."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_FREE = ("/static/", "/vendor/", "/i18n/", "/healthz")
"""Small files of ours: not counted against an address."""

_BEARER_ONLY = ("/whip/", "/whep/")
"""Addresses that take a bearer token and no cookie: no other site can ask in somebody's name."""

_CROSS_ORIGIN = {
    "Access-Control-Expose-Headers": "ETag, Link, Location, Retry-After",
    "Vary": "Origin",
}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "600",
}
"""What the Fetch standard (CORS protocol) lets a page of another site ask and read."""

_NOT_PAGES = ("/api/", "/ws/", "/metrics", *_BEARER_ONLY, *_FREE)

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; font-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), "
        "speaker-selection=(self), autoplay=(self), geolocation=(), usb=(), payment=()"
    ),
    "Server": "tingxun",
}


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: the same headers on every answer, errors and files too."""
    response.headers.update(SECURITY_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    origin = request.headers.get("Origin")
    if origin is not None and _is_media_origin(origin, request):
        response.headers.update({"Access-Control-Allow-Origin": origin, **_CROSS_ORIGIN})
        if "Access-Control-Request-Method" in request.headers:
            response.headers.update(_PREFLIGHT)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: every error becomes an answer with its code, and nothing inside leaks out."""
    allow = None
    try:
        return await handler(request)
    except TingxunError as error:
        problem = error
    except web.HTTPException as error:
        if error.status < 400:
            raise
        problem = _of_http(error, request)
        allow = error.headers.get("Allow")
    except ConnectionError:
        # The client went away in the middle of its answer; there is nobody to tell.
        raise
    except Exception:
        logger.exception("%s %s", request.method, request.path)
        problem = Internal("the server could not answer this request")
    answer = _answer(request, problem)
    if allow is not None:
        answer.headers["Allow"] = allow
    return answer


def _answer(request: web.Request, problem: TingxunError) -> web.StreamResponse:
    is_page = not request.path.startswith(_NOT_PAGES)
    if is_page and "text/html" in request.headers.get("Accept", ""):
        if isinstance(problem, NotSignedIn):
            target = quote(request.path_qs, safe="/?=&")
            return web.Response(status=303, headers={"Location": f"/sign-in?to={target}"})
        return request.app[PAGES].problem(request, problem)
    response = web.json_response(
        problem.to_problem(), status=problem.status, content_type="application/problem+json"
    )
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if problem.status == 503 or isinstance(problem, AlreadyJoined | NothingToPlay):
        response.headers["Retry-After"] = _RETRY_AFTER_S
    if isinstance(problem, MessageTooLarge):
        # What is left of the body is not read, so the connection is of no further use.
        response.force_close()
    return response


def _of_http(error: web.HTTPException, request: web.Request) -> TingxunError:
    if error.status == 404:
        return PageUnknown(f"nothing at {request.path[:200]}")
    if error.status == 405:
        return MethodRefused(f"{request.method} is not for {request.path[:200]}")
    if error.status == 413:
        return MessageTooLarge(
            f"a body has at most {request.app[CONFIG].server.max_body_bytes} bytes"
        )
    if error.status < 500:
        return MessageMalformed(error.reason)
    return Internal(error.reason)


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests for other names, from other sites, and changes that no page of ours asks."""
    config = request.app[CONFIG]
    if not _host_is_ours(request.host, config):
        raise OriginRefused(
            f"this server is not known as {request.host[:100]}; see server.host_names"
        )
    origin = request.headers.get("Origin")
    if (
        origin is not None
        and not _origin_is_ours(origin, request, config)
        and not _is_media_origin(origin, request)
    ):
        raise OriginRefused(f"the request comes from {origin[:100]}")
    if (
        request.method not in _READING
        and origin is None
        and request.headers.get("X-Requested-With") != REQUESTED_WITH
        and "Authorization" not in request.headers
        and not request.path.startswith(_BEARER_ONLY)
    ):
        raise OriginRefused("a change needs the header X-Requested-With or Origin")
    return await handler(request)


def _host_is_ours(host: str, config: Config) -> bool:
    """An address is always ours: only a name can be pointed at us by others (DNS rebinding)."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        public = urlsplit(config.server.public_origin or "").hostname
        known = {"localhost", config.server.host, public, *config.server.host_names}
        return name in {str(one).lower() for one in known if one}
    return True


def _origin_is_ours(origin: str, request: web.Request, config: Config) -> bool:
    if origin == config.server.public_origin:
        return True
    parts = urlsplit(origin)
    schemes = ("https",) if config.tls else ("http", "https")
    return parts.scheme in schemes and parts.netloc.lower() == request.host.lower()


def _is_media_origin(origin: str, request: web.Request) -> bool:
    """Whether it is a page of a site that the operator lets send and play by WHIP and WHEP."""
    known = request.app[CONFIG].server.media_origins
    return origin in known and request.path.startswith(_BEARER_ONLY)


class AddressPace:
    """One token bucket for each client address; :meth:`middleware` is the part of the edge."""

    def __init__(self, burst: int, rate_per_s: float) -> None:
        self._burst = burst
        self._rate_per_s = rate_per_s
        self._paces: OrderedDict[str, Pace] = OrderedDict()

    def take(self, address: str, now_s: float) -> None:
        """Count a request; raises :class:`~rooms.errors.MessageTooFrequent`."""
        pace = self._paces.get(address)
        if pace is None:
            pace = self._paces[address] = Pace(self._burst, self._rate_per_s)
            if len(self._paces) > REMEMBERED_ADDRESSES:
                self._paces.popitem(last=False)
        self._paces.move_to_end(address)
        try:
            pace.take(now_s)
        except MessageTooFrequent:
            raise MessageTooFrequent("more requests than the server takes from one address") from (
                None
            )

    def middleware(self) -> Middleware:
        """The middleware that counts each request but those for small files of ours."""

        @web.middleware
        async def pace(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not request.path.startswith(_FREE):
                self.take(client_address(request), time.monotonic())
            return await handler(request)

        return pace


def client_address(request: web.Request) -> str:
    """The client's network address.

    Behind a proxy on this machine (``server.public_origin`` is set) it is the last one that the
    proxy added to ``X-Forwarded-For``; earlier entries are what the client claims.
    """
    remote = request.remote or "unknown"
    forwarded = request.headers.get("X-Forwarded-For")
    if forwarded and request.app[CONFIG].server.public_origin and remote in ("127.0.0.1", "::1"):
        return forwarded.rsplit(",", 1)[-1].strip()[:64]
    return remote
