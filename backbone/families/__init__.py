"""The networks of the papers, a module for each: rows as printed, and the configuration that makes blocks of them."""
