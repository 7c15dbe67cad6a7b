"""What a request may carry: the JSON bodies of the HTTP interface as types."""

from __future__ import annotations

from typing import Annotated, TypeVar

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from rooms.errors import FieldInvalid, MessageMalformed
from rooms.roles import Role
from rooms.session import SessionKind
from server.account_records import SystemRole
from server.texts import Language


class Body(BaseModel):
    """A JSON object; keys that are not known are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Id = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[str, Field(max_length=1024)]


class SignInBody(Body):
    """POST /api/sign-in; with ``bearer`` the answer carries the token for a program."""

    name: Annotated[str, Field(max_length=64)]
    password: Password
    bearer: bool = False


class LanguageBody(Body):
    """POST /api/language."""

    language: Language


class PasswordBody(Body):
    """POST /api/password."""

    old: Password
    new: Password


class PersonBody(Body):
    """POST /api/people."""

    name: Annotated[str, Field(max_length=64)]
    display_name: Annotated[str, Field(max_length=200)]
    role: SystemRole
    site_id: Id | None = None


class SeatBody(Body):
    """One person of a booking and what they are in the session."""

    account_id: Id
    role: Role


class BookingBody(Body):
    """POST /api/sessions."""

    case_number: Annotated[str, Field(max_length=64)]
    kind: SessionKind
    title: Annotated[str, Field(max_length=200)]
    starts_at: AwareDatetime
    planned_minutes: Annotated[int, Field(ge=5, le=24 * 60)] = 60
    room_id: Id
    detention_room_id: Id
    assignments: Annotated[list[SeatBody], Field(min_length=1, max_length=32)]


AnyBody = TypeVar("AnyBody", bound=Body)


async def read_body(request: web.Request, kind: type[AnyBody]) -> AnyBody:
    """The request's body; raises message_malformed (no JSON) or field_invalid (named)."""
    content = await request.read()
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise MessageMalformed(f"the body is not JSON: {first['msg']}") from None
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise FieldInvalid(f"{place}: {first['msg']}") from None
