"""The words of LM Studio's own protocol, for the side that drives one and the side that acts as one. Pure."""
