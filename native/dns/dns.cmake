# gantry-dns: the name server of all sandboxes.
add_companion(dns ${CMAKE_CURRENT_LIST_DIR})
