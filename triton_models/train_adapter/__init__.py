"""Fitting the adapter: labelled files in; a change of the decoder's upper layers and a recipe out."""
