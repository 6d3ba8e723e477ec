# gantry-runtime: the OCI runtime. Static, since loading shared libraries would be a third of the time that it takes to
# start a container; gantry-seccomp, which it runs for a seccomp profile that it meets for the first time, has libseccomp.
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
file(GLOB RUNTIME_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
list(REMOVE_ITEM RUNTIME_SOURCES ${CMAKE_CURRENT_LIST_DIR}/main.cc ${CMAKE_CURRENT_LIST_DIR}/entry.cc
  ${CMAKE_CURRENT_LIST_DIR}/seccomp_compiler.cc)

add_library(runtime-parts STATIC ${RUNTIME_SOURCES})
target_include_directories(runtime-parts PUBLIC ${CMAKE_SOURCE_DIR}/include ${CMAKE_CURRENT_LIST_DIR})
# Only its header: names and version.
target_include_directories(runtime-parts PRIVATE ${SECCOMP_INCLUDE_DIRS})

file(READ ${CMAKE_SOURCE_DIR}/package.json PACKAGE)
string(JSON GANTRY_VERSION GET "${PACKAGE}" version)

target_compile_options(runtime-parts PRIVATE -ffunction-sections -fdata-sections)
if(GANTRY_NAIVE)
  target_compile_definitions(runtime-parts PUBLIC GANTRY_NAIVE)
  # What the security tests put into containers.
  add_executable(intruder ${CMAKE_SOURCE_DIR}/test/intruder.cc)
  target_link_options(intruder PRIVATE -static)
  set_target_properties(intruder PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${GANTRY_BIN})
endif()

# With sanitizers only the parts, for the tests: the programs are static, and those that are in use must stay as they are.
if(NOT GANTRY_SANITIZE)
  add_executable(gantry-runtime ${CMAKE_CURRENT_LIST_DIR}/main.cc)
  if(NOT GANTRY_NAIVE AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64|aarch64|arm64)$")
    target_sources(gantry-runtime PRIVATE ${CMAKE_CURRENT_LIST_DIR}/entry.cc)
    # It runs when there is neither thread storage for the protector's secret nor a memcpy that loops could become.
    set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/entry.cc PROPERTIES
      COMPILE_OPTIONS "-fno-stack-protector;-fno-tree-loop-distribute-patterns;-fno-builtin")
    target_link_options(gantry-runtime PRIVATE -Wl,-e,gantry_runtime_entry)
  endif()
  target_compile_definitions(gantry-runtime PRIVATE GANTRY_VERSION="${GANTRY_VERSION}")
  target_link_libraries(gantry-runtime PRIVATE runtime-parts)
  add_executable(gantry-seccomp ${CMAKE_CURRENT_LIST_DIR}/seccomp_compiler.cc)
  target_link_libraries(gantry-seccomp PRIVATE runtime-parts PkgConfig::SECCOMP)
  set_target_properties(gantry-runtime gantry-seccomp PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${GANTRY_BIN})
  set_target_properties(gantry-runtime PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_link_options(gantry-runtime PRIVATE -static -no-pie -Wl,--gc-sections)
  target_link_options(gantry-seccomp PRIVATE -static-libstdc++ -static-libgcc -Wl,--gc-sections)
endif()
