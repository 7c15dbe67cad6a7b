"""WHIP: a stock encoder publishes into a session over HTTP (RFC 9725).

``POST /whip/sessions/{session_id}`` with an offer takes the seat of the account whose bearer token
it carries and publishes; the URL in ``Location`` is the WHIP session, to be trickled to (``PATCH``)
and ended (``DELETE``). The tracks are like any others. :mod:`server.whep` answers at the same kind
of URLs for players, by the functions here that are not about publishing.
"""

from __future__ import annotations

from aiohttp import web
from pydantic import ValidationError

from rooms.errors import (
    CodecUnsupported,
    ContentTypeUnsupported,
    FieldInvalid,
    IceRestartUnsupported,
    NotPermitted,
    NotSignedIn,
    OfferUnsupported,
    PreconditionFailed,
    PreconditionRequired,
    SdpInvalid,
)
from rooms.media import Kind, parse_source
from rooms.roles import Permission
from server import protocol
from server.conductor import Conductor
from server.keys import CONDUCTORS, CONFIG, IDENTIFY, MEDIA_RESOURCES, RELAYS
from server.media_resources import MediaResource
from server.sfu import sdp

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
MAX_FRAGMENT_LINES = 256

ENDPOINT = "/whip/sessions/{session_id}"


def add_routes(app: web.Application) -> None:
    """Mount the WHIP endpoint and its sessions."""
    app.router.add_post(ENDPOINT, _publish)
    add_common_routes(app, ENDPOINT)


def add_common_routes(app: web.Application, endpoint: str) -> None:
    """Mount what an endpoint and its sessions have in common for WHIP and WHEP."""
    session = endpoint + "/{resource_id}"
    app.router.add_get(endpoint, _nothing_to_show)
    app.router.add_options(endpoint, _options)
    app.router.add_get(session, _shown)
    app.router.add_patch(session, _trickle)
    app.router.add_delete(session, _end)
    app.router.add_options(session, _session_options)


async def _publish(request: web.Request) -> web.Response:
    conductor, account_id = await seat_of(request)
    if not conductor.room.may(account_id, Permission.PUBLISH):
        raise NotPermitted("your role in this session does not publish")
    sources: dict[str, str] = {
        "video": _source(request, "source", "camera", "video"),
        "audio": _source(request, "audio", "microphone", "audio"),
    }
    text, remote = await read_offer(request)
    tracks = []
    for section in remote.media:
        source = sources.pop(section.kind, None)
        if source is None:
            raise OfferUnsupported(f"media section {section.mid!r}: one picture and one sound")
        if section.direction not in ("sendonly", "sendrecv"):
            raise OfferUnsupported(f"media section {section.mid!r} is {section.direction}")
        codecs = ("opus",) if section.kind == "audio" else request.app[CONFIG].media.codecs
        try:
            section.choose(codecs)
            tracks.append(protocol.PublishedSection(mid=section.mid, source=source))
        except CodecUnsupported as problem:
            # 415 would speak of the body's own type here.
            raise OfferUnsupported(problem.message) from None
        except ValidationError:
            raise SdpInvalid(f"media section {section.mid[:40]!r}: the mid is too long") from None
    resource, answer = await request.app[MEDIA_RESOURCES].publish(
        conductor, account_id, remote, text, tracks
    )
    return created(request, resource, answer)


def _source(request: web.Request, name: str, default: str, kind: Kind) -> str:
    source = parse_source(request.query.get(name, default))
    if source.kind != kind:
        raise FieldInvalid(f"{name}: {source} gives {source.kind}")
    return str(source)


async def seat_of(request: web.Request) -> tuple[Conductor, str]:
    """The session's conductor and who asks; by bearer token alone, and only with a seat."""
    if "Authorization" not in request.headers:
        raise NotSignedIn("send Authorization: Bearer TOKEN")
    account_id = await request.app[IDENTIFY](request)
    conductor = await request.app[CONDUCTORS].get(request.match_info["session_id"])
    conductor.check_assigned(account_id)
    return conductor, account_id


async def read_offer(request: web.Request) -> tuple[str, sdp.RemoteDescription]:
    """The offer in a request's body, as text and read; all of it on one transport (4.4.1)."""
    text = await _read(request, SDP)
    remote = sdp.parse(text)
    lines = text.splitlines()
    bundled = next((line for line in lines if line.startswith("a=group:BUNDLE ")), "").split()[1:]
    one_transport = len(remote.media) == 1 or {one.mid for one in remote.media} <= set(bundled)
    if not one_transport or lines.count("a=rtcp-mux") < len(remote.media):
        raise OfferUnsupported("not everything is in one BUNDLE group with rtcp-mux")
    return text, remote


async def _read(request: web.Request, content_type: str) -> str:
    if request.content_type != content_type:
        raise ContentTypeUnsupported(f"{request.content_type[:80]!r} is not {content_type}")
    body = await request.read()
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise SdpInvalid("the body is not UTF-8") from None


def created(request: web.Request, resource: MediaResource, answer: str) -> web.Response:
    """The answer to an offer that was taken, with the relays to use (RFC 9725, 4.6)."""
    response = web.Response(
        status=201,
        body=answer.encode(),
        content_type=SDP,
        headers={"Location": f"{request.path}/{resource.id}", "ETag": resource.etag},
    )
    for link in request.app[RELAYS].links(resource.seat.participant_id):
        response.headers.add("Link", link)
    return response


async def _resource(request: web.Request) -> MediaResource:
    conductor, account_id = await seat_of(request)
    return request.app[MEDIA_RESOURCES].find(
        request.match_info["resource_id"], conductor.session_id, account_id
    )


async def _trickle(request: web.Request) -> web.Response:
    """Take candidates (RFC 8840); an ICE restart is refused, as RFC 9725 (4.3.1) provides for."""
    resource = await _resource(request)
    text = await _read(request, FRAGMENT)
    tags = request.headers.get("If-Match")
    if tags is None:
        raise PreconditionRequired
    if tags.strip() != "*" and resource.etag not in [tag.strip() for tag in tags.split(",")]:
        raise PreconditionFailed
    lines = text.strip().splitlines()
    if not lines or len(lines) > MAX_FRAGMENT_LINES or any(line[1:2] != "=" for line in lines):
        raise SdpInvalid("the body is not an SDP fragment")
    ufrags = [line.partition(":")[2] for line in lines if line.startswith("a=ice-ufrag:")]
    if any(ufrag != resource.remote_ufrag for ufrag in ufrags):
        raise IceRestartUnsupported
    for line in lines:
        if line.startswith("a=candidate:"):
            await resource.add_candidate(line.removeprefix("a=")[:512])
    return web.Response(status=204)


async def _end(request: web.Request) -> web.Response:
    await request.app[MEDIA_RESOURCES].end(await _resource(request))
    return web.Response()


async def _shown(request: web.Request) -> web.Response:
    await _resource(request)
    return web.Response(status=204)


async def _nothing_to_show(_request: web.Request) -> web.Response:
    """There is no representation of an endpoint (RFC 9725, 4.1)."""
    return web.Response(status=204)


async def _options(_request: web.Request) -> web.Response:
    return web.Response(headers={"Accept-Post": SDP, "Allow": "GET, HEAD, OPTIONS, POST"})


async def _session_options(_request: web.Request) -> web.Response:
    """What browsers ask before they change anything; the same for a session that is not there."""
    allowed = "DELETE, GET, HEAD, OPTIONS, PATCH"
    return web.Response(headers={"Accept-Patch": FRAGMENT, "Allow": allowed})
