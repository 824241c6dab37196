"""What requests may use: rates by the minute, money by the request, the day and the month."""
