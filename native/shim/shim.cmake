# gantry-shim and gantry-init: small and static.
