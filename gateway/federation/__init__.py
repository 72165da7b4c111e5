"""People sign in through a provider their company has already; crmgate's own second factor follows."""
