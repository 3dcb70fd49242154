"""What every conformance check raises when a contract is not kept."""


class NotConforming(AssertionError):
    """Something does not do what its contract says."""


def require(condition: bool, sentence: str) -> None:
    """Raise NotConforming with the sentence unless the condition holds."""
    if not condition:
        raise NotConforming(f"{sentence[0].upper()}{sentence[1:].rstrip('.')}.")
