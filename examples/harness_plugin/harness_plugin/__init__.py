"""An example of every kind of plug-in, a module each."""
