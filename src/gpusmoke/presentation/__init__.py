"""How records look to people. Nothing here decides anything."""
