# An addon of its own for device-mapper, so that only who uses that storage driver loads libdevmapper.
if(CMAKE_JS_INC)
  pkg_check_modules(DEVMAPPER REQUIRED IMPORTED_TARGET devmapper)
  add_library(devicemapper SHARED ${CMAKE_CURRENT_LIST_DIR}/addon.cc ${CMAKE_CURRENT_LIST_DIR}/device_mapper.cc
    ${CMAKE_CURRENT_LIST_DIR}/block_device.cc ${CMAKE_CURRENT_LIST_DIR}/grow.cc ${CMAKE_SOURCE_DIR}/binding/task.cc ${CMAKE_SOURCE_DIR}/lib/workers.cc
    ${CMAKE_JS_SRC})
  set_target_properties(devicemapper PROPERTIES PREFIX "" OUTPUT_NAME devicemapper SUFFIX ".node"
    LIBRARY_OUTPUT_DIRECTORY ${CMAKE_SOURCE_DIR}/build/Release)
  target_include_directories(devicemapper PRIVATE ${CMAKE_SOURCE_DIR}/binding ${CMAKE_SOURCE_DIR}/include
    ${CMAKE_JS_INC} ${CMAKE_SOURCE_DIR}/${NODE_ADDON_API_DIR} ${NODE_ADDON_API_DIR})
  target_compile_definitions(devicemapper PRIVATE NAPI_VERSION=9 NODE_ADDON_API_DISABLE_DEPRECATED)
  target_link_libraries(devicemapper PRIVATE Threads::Threads PkgConfig::DEVMAPPER ${CMAKE_JS_LIB})
endif()
