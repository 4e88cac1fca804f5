"""What proves the addon: lint and tests, the demo, two years of real bills, speed, crashes, Odoo's own tests."""
