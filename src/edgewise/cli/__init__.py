"""Words to calls: one file for each verb."""
