"""Tapeline's servers. Each folder is one server or one library that servers share."""
