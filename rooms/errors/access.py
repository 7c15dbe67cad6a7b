"""Who is asking, and whether they may."""

from __future__ import annotations

from rooms.errors.root import TingxunError


class AccessError(TingxunError, status=403, fault="caller"):
    """Who is asking is not known, or may not do this."""


class NotAssigned(
    AccessError, code="not_assigned", hint="Ask the person who booked the session to assign you."
):
    """You are not assigned to this session."""


class NotPermitted(AccessError, code="not_permitted", hint="Ask someone whose role permits it."):
    """Your role does not permit this."""


class NotSignedIn(AccessError, code="not_signed_in", status=401, hint="Sign in and try again."):
    """You are not signed in."""


class OriginRefused(
    AccessError, code="origin_refused", hint="Open the platform at its own address."
):
    """The request comes from a page of another origin."""


class TokenInvalid(
    AccessError, code="token_invalid", status=401, hint="Sign in again for a new token."
):
    """The token is unknown, used up or expired."""


class TooManyAttempts(
    AccessError, code="too_many_attempts", status=429, hint="Wait a few minutes, then try again."
):
    """Too many attempts to sign in."""


class WrongPassword(
    AccessError,
    code="wrong_password",
    status=401,
    hint="Check the name and the password; an administrator can set a new one.",
):
    """The name or the password is wrong."""
