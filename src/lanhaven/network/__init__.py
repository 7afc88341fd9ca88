"""This machine on its network: addresses, the name on the LAN, other servers there, certificates."""
