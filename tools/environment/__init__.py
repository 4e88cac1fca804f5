"""What makes the environment: Python packages, Odoo, PostgreSQL, databases, servers, a browser."""
