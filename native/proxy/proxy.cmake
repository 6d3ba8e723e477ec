# gantry-proxy: published ports that the kernel cannot translate.
add_companion(proxy ${CMAKE_CURRENT_LIST_DIR})
