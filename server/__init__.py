"""The media server: HTTP and WebSocket, signalling, forwarding, and the commands that start it."""

__version__ = "0.1.0"
