"""Which entity a candidate answers: a salted hash of entity and experiment.

The same entity gets the same version for as long as a stage lasts, in every replica and after every
restart, and one that is in stays in when the stage grows. Another experiment draws anew, so that it is not
always the same entities that are tried on.
"""

from __future__ import annotations

from hashlib import blake2b

BUCKETS = 10_000


def bucket_of(experiment: str, salt: str, entity: str) -> int:
    """Return a bucket, 0 to 9,999, drawn evenly."""
    digest = blake2b(f"{experiment}\n{salt}\n{entity}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % BUCKETS


def is_candidates(experiment: str, salt: str, entity: str, share: float) -> bool:
    """Return whether the candidate answers an entity when it has `share` (0 to 1) of them."""
    return bucket_of(experiment, salt, entity) < round(share * BUCKETS)
