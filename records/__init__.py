"""How the records of calls that have ended get to billing: sinks, exports."""
