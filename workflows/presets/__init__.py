"""Named configurations: functions that return them."""
