"""SMTP logs of any size: sessions that went well are counted, each with its outcome; all others are read."""
