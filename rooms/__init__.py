"""The rules of a session: commands in, events out, the present moment passed in.

Nothing in this package does I/O or reads a clock; it imports no event loop, socket, database or
media library. Reading order:

- `errors`    every error of the platform, with its stable code
- `moment`    the two clocks and how wall time is written
- `roles`     who may do what
- `media`     sources, codecs, archive track ids
- `session`   what was booked and who is assigned
- `phases`    the phases of a session and the one table of changes between them
- `commands`  what can be asked of a room
- `events`    what can happen in a room, and how that is stored
- `text`      which texts may be stored
- `state`     events applied: what is so
- `decisions` commands judged: what is to happen
- `room`      the two together, as the server uses them
"""
