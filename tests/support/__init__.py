"""What several test files share: a fault server, a live gateway, a client that can hang up."""
