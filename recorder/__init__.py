"""The recorder: RTP in, a sealed archive out; and what checks and replays such an archive."""
