"""The connectors that come with the package: the modules that know a driver."""
