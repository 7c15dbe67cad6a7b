"""The media server: HTTP and WebSocket, signalling, forwarding, and the commands that start it."""
