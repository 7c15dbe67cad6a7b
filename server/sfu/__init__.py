"""The forwarding unit: one call from a received datagram to the last send of its copies."""
