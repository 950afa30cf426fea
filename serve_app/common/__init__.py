"""What several rooms need beside the decision: each module stands alone, and needs the standard library only."""
