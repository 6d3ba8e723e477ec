# gantry-runtime: the OCI runtime.
