"""What stands behind the ports: the exchange's feed, files on disk, TA-Lib."""
