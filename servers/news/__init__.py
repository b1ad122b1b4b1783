"""News and social posts: taken in, linked, cleaned, read and summed up."""
