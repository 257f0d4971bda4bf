"""A Django project, run by the tests of the integration in processes of its own."""
