# The Node-API addon: argument conversion and work off the main thread, nothing else. Only under cmake-js, which knows Node's headers.
if(CMAKE_JS_INC)
  file(GLOB BINDING_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cc)
  without_left_out(BINDING_SOURCES)
  add_library(addon SHARED ${BINDING_SOURCES} ${CMAKE_JS_SRC})
  set_target_properties(addon PROPERTIES PREFIX "" OUTPUT_NAME gantry SUFFIX ".node"
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_SOURCE_DIR}/build/Release)
  execute_process(COMMAND node -p "require('node-addon-api').include_dir"
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE NODE_ADDON_API_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
  target_include_directories(addon PRIVATE ${CMAKE_JS_INC} ${CMAKE_SOURCE_DIR}/${NODE_ADDON_API_DIR} ${NODE_ADDON_API_DIR})
  target_compile_definitions(addon PRIVATE NAPI_VERSION=9 NODE_ADDON_API_DISABLE_DEPRECATED)
  target_link_libraries(addon PRIVATE libgantry ${CMAKE_JS_LIB})
endif()
