# One GoogleTest program per file.
find_package(GTest REQUIRED)
file(GLOB TEST_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.cc)
foreach(source ${TEST_SOURCES})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE libgantry GTest::gtest_main GTest::gmock)
  # The runtime's parts are not in libgantry: it is static and must not need shared libraries.
  if(name MATCHES "^runtime_")
    target_link_libraries(${name} PRIVATE runtime-parts)
  endif()
  add_test(NAME ${name} COMMAND ${name})
endforeach()
