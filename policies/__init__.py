"""What the data is (taxonomy, CRM profiles) and who may do what with it (roles, decisions)."""
