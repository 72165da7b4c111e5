"""Policy bundles with a life: drafted by one person, published by another, live on every node."""
