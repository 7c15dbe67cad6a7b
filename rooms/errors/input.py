"""What was sent cannot be used."""

from __future__ import annotations

from rooms.errors.root import TingxunError


class InputError(TingxunError, status=400, fault="caller"):
    """What was sent cannot be used."""


class CodecUnsupported(
    InputError, code="codec_unsupported", status=415, hint="Offer H.264, VP8 or Opus."
):
    """The codec is not one that the platform takes for this source."""


class ContentTypeUnsupported(
    InputError,
    code="content_type_unsupported",
    status=415,
    hint="Send application/sdp to begin, application/trickle-ice-sdpfrag to go on.",
):
    """This address does not take that type of content."""


class FieldInvalid(
    InputError, code="field_invalid", status=422, hint="Correct the field that is named."
):
    """A field has a value that is not allowed."""


class IceRestartUnsupported(
    InputError,
    code="ice_restart_unsupported",
    status=422,
    hint="End the session and send a new offer to the endpoint.",
):
    """ICE is not restarted here."""


class MediaFileBroken(
    InputError, code="media_file_broken", hint="Choose a file that a media player can play."
):
    """The media file cannot be read."""


class MediaFileMissing(InputError, code="media_file_missing", hint="Check the path of the file."):
    """The media file does not exist."""


class MessageMalformed(
    InputError, code="message_malformed", hint="See docs/PROTOCOL.md for the shape of messages."
):
    """The message is not as the protocol describes it."""


class MessageTooFrequent(
    InputError, code="message_too_frequent", status=429, hint="Send fewer messages."
):
    """Messages come too fast."""


class MessageTooLarge(
    InputError, code="message_too_large", status=413, hint="Send a smaller message."
):
    """The message is too large."""


class MethodRefused(
    InputError, code="method_refused", status=405, hint="Use a method that this address takes."
):
    """This address does not take that method."""


class NoteMissing(
    InputError, code="note_missing", status=422, hint="Write in a few words why it is done."
):
    """This reason needs a note."""


class OfferUnsupported(
    InputError,
    code="offer_unsupported",
    status=422,
    hint="Offer at most one picture in H.264 or VP8 and one sound in Opus.",
):
    """The offer asks for more, or for something else, than this address gives."""


class SdpInvalid(
    InputError, code="sdp_invalid", fault="peer", hint="Reload the page; if it stays, report it."
):
    """The session description makes no sense."""


class VersionUnsupported(
    InputError, code="version_unsupported", hint="Reload the page, or update the program."
):
    """This version of the protocol is not spoken here."""
