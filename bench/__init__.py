"""Benchmarks: what forwarding, joining and recording cost, beside Janus and over time.

Each module is one command, ``python -m bench.forward`` and so on; see ``bench/README.md``. Servers
are real ones in processes of their own, clients send media that was encoded before.
"""
