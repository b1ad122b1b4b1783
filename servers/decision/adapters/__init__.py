"""Peers and the journal, behind the ports."""
