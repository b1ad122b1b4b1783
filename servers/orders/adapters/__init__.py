"""The journal, risk and the venue, real and in memory."""
