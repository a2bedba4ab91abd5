"""Work that is cut into shards: done here or by Ray Data, gone on with where it ended, the same bytes either way."""
