"""Writers of other trainers' formats; the reader of the same format in ``shards/sources`` reads them again."""
