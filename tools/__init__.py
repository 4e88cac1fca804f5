"""What `./dev` is made of; no part of the addon itself."""
