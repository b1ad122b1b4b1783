"""Sessions, holidays, half days and time zones of real exchanges: a library that servers use.

The tables come from `exchange_calendars`, which costs most of a second of CPU to import, so it is
imported when the first calendar is asked for and not before.
"""

from servers.calendars.calendars import Calendars

__all__ = ["Calendars"]
