"""SMTP logs of any size to sessions and refusals; sessions that went well are counted, each with its outcome."""
