# Change the greeting while the example runs, save, and ask again.
raw_env = ["GREETING=Hello, version 1"]

workers = 3
