"""Fitting the head: labelled files in; weights, calibration, recipe and a table of scores out."""
