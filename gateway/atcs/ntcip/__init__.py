"""NTCIP 1202 v03 objects of a junction: `objects` (sans-IO table), `agent` (SNMP, by pysnmp)."""
