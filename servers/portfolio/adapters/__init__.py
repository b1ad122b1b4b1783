"""The journal and the peers, behind the ports."""
