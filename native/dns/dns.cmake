# gantry-dns: the name server of all sandboxes. Static, as it outlives the daemon and so an upgrade of the host's libraries.
file(GLOB DNS_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
list(REMOVE_ITEM DNS_SOURCES ${CMAKE_CURRENT_LIST_DIR}/main.cc)

add_library(dns-parts STATIC ${DNS_SOURCES})
target_include_directories(dns-parts PUBLIC ${CMAKE_SOURCE_DIR}/include ${CMAKE_CURRENT_LIST_DIR})
target_compile_options(dns-parts PRIVATE -ffunction-sections -fdata-sections)

if(NOT GANTRY_SANITIZE)
  add_executable(gantry-dns ${CMAKE_CURRENT_LIST_DIR}/main.cc)
  target_link_libraries(gantry-dns PRIVATE dns-parts)
  set_target_properties(gantry-dns PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${GANTRY_BIN} POSITION_INDEPENDENT_CODE OFF)
  target_link_options(gantry-dns PRIVATE -static -no-pie -Wl,--gc-sections -s)
endif()
