"""Mail: messages, missed calls, alarms."""
