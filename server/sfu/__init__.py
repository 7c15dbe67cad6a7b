"""The forwarding unit: one synchronous call from a received datagram to the last send of its copies."""
