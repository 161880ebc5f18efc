"""What happens to items over time: when each was acted on and shown, and how that stands at any moment.

    ItemEvents     times of events, by item                       one pass over a data set
    FadedCounts    log2 of faded counts at any (item, time)        by search, nothing but events strictly before
    ItemState      the same at the newest moment, event by event   constant time an event

Floors and the prior stand on this.
"""

from sessionrec.dynamics.events import Before, ItemEvents, Kind, newest_ms
from sessionrec.dynamics.faded import FadedCounts
from sessionrec.dynamics.state import NEVER, ItemState

__all__ = ["NEVER", "Before", "FadedCounts", "ItemEvents", "ItemState", "Kind", "newest_ms"]
