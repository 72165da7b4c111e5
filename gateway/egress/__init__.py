"""What leaves and enters the CRM beside the browser: mail, calls to other services, and what arrives from outside."""
