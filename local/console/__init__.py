"""The page in the browser: data, training, progress, history and results of the embedded cloud. Binds to loopback."""
