"""The models. The `*_cde` modules travel with every checkpoint (`remote_code_cde`) and import only each other."""
