"""Named keys, kept as digests in one file that only its owner can read."""
