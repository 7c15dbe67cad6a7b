"""A terminal without a screen: joins a session as a browser does, for the demo and for tests.

* :mod:`server.agent.picture` draws the test picture and the evidence page;
* :mod:`server.agent.film` reads pictures and sound from a media file, in a loop;
* :mod:`server.agent.sources` encodes either in real time, on one clock for a terminal;
* :mod:`server.agent.signalling` signs in, and keeps one WebSocket;
* :mod:`server.agent.terminal` publishes and receives on top of that (:mod:`server.agent.peers`).
"""
