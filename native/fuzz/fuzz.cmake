# Fuzz targets, each with its corpus. They are tests too: a few seconds each, under the sanitizers. The sources that a target
# is about are compiled for it once more, with what tells the engine where its inputs get to.
set(FUZZ_SECONDS 4 CACHE STRING "How long each fuzz target runs as a test")
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  set(FUZZ_FLAGS -fsanitize=fuzzer-no-link)
else()
  set(FUZZ_FLAGS -fsanitize-coverage=trace-pc)
endif()

function(add_fuzz_target name)
  cmake_parse_arguments(TARGET "" "" "SOURCES;LIBRARIES;INCLUDES" ${ARGN})
  add_executable(fuzz_${name} ${CMAKE_SOURCE_DIR}/fuzz/${name}_fuzz.cc ${TARGET_SOURCES})
  target_compile_options(fuzz_${name} PRIVATE ${FUZZ_FLAGS} -O1)
  target_include_directories(fuzz_${name} PRIVATE ${TARGET_INCLUDES})
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_link_libraries(fuzz_${name} PRIVATE fuzz_engine)
  endif()
  target_link_libraries(fuzz_${name} PRIVATE ${TARGET_LIBRARIES})
  add_test(NAME fuzz_${name} COMMAND fuzz_${name} -max_total_time=${FUZZ_SECONDS} ${CMAKE_SOURCE_DIR}/fuzz/corpus/${name})
endfunction()

add_library(fuzz_engine OBJECT ${CMAKE_CURRENT_LIST_DIR}/engine.cc)
add_fuzz_target(config
  SOURCES runtime/spec.cc runtime/spec_linux.cc runtime/resources.cc runtime/json.cc
  LIBRARIES runtime-parts libgantry)
add_fuzz_target(layer SOURCES lib/tar_reader.cc lib/byte_source.cc LIBRARIES libgantry)
add_fuzz_target(shim_protocol
  SOURCES shim/client.cc shim/requests.cc shim/loop.cc shim/sys.cc
  INCLUDES ${CMAKE_SOURCE_DIR}/shim)
