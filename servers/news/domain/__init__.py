"""Pure rules of posts: linking, repeats, spam, aggregates, bursts."""
