# gantry-shim and gantry-init: small, static, without the C++ library, so that thousands of them cost next to nothing.
find_program(MUSL_GCC musl-gcc REQUIRED)
set(STATIC_FLAGS -std=c++20 -O2 -g0 -Wall -Wextra -Wformat=2 -D_GNU_SOURCE -fno-exceptions -fno-rtti -fno-threadsafe-statics
  -fno-asynchronous-unwind-tables -fstack-protector-strong -ffunction-sections -fdata-sections -nostdinc++)
set(STATIC_LINK_FLAGS -static -no-pie -Wl,--gc-sections -Wl,-z,norelro -s)

# One program from all sources of a folder. One call of the compiler: the sources are few and optimized as a whole.
function(add_static_program name folder)
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cc)
  file(GLOB headers CONFIGURE_DEPENDS ${folder}/*.h)
  set(program ${GANTRY_BIN}/${name})
  add_custom_command(OUTPUT ${program}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${GANTRY_BIN}
    COMMAND ${MUSL_GCC} -x c++ ${STATIC_FLAGS} -flto ${sources} -o ${program} ${STATIC_LINK_FLAGS}
    DEPENDS ${sources} ${headers}
    COMMENT "Building static program ${name}" VERBATIM)
  add_custom_target(${name} ALL DEPENDS ${program})
endfunction()

add_static_program(gantry-shim ${CMAKE_SOURCE_DIR}/shim)
add_static_program(gantry-init ${CMAKE_SOURCE_DIR}/init)
