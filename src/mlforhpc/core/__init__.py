"""The ground floor: contracts, and the few parts that every floor above speaks through."""
