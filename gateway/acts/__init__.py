"""What the agent does about alarms: sirens, alerts, tickets, signs, maps (`gateway.acts.part`)."""
