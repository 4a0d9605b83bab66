"""The sweep: what is listed against what rows name, what differs and why, and where it is kept."""
