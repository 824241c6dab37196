"""Virtual keys: who may ask for what; kept in a file of SQLite, and what was spent beside them."""
