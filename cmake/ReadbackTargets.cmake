# One folder = one target = one namespace. These two functions are all the build logic the folders need.

# readback_library(text DEPS base PUBLIC unicode.h): readback/text/**/*.cpp -> static library readback_text, and a part
# of libreadback, which other projects link. The headers behind PUBLIC are installed; * stands for those of a folder.
# With TORCH it includes ATen through one shared precompiled header (7 s a file otherwise).
function(readback_library name)
  cmake_parse_arguments(arg "TORCH" "" "DEPS;LIBS;PUBLIC" ${ARGN})
  foreach(pattern ${arg_PUBLIC})
    file(GLOB headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/readback/${name}/${pattern}")
    if(NOT headers)
      message(FATAL_ERROR "readback_library(${name}): there is no ${pattern}")
    endif()
    target_sources(libreadback PUBLIC FILE_SET HEADERS BASE_DIRS "${PROJECT_SOURCE_DIR}" FILES ${headers})
  endforeach()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/readback/${name}/*.cpp")
  list(TRANSFORM arg_DEPS PREPEND readback_)
  if(NOT sources)  # a folder of headers only
    add_library(readback_${name} INTERFACE)
    target_include_directories(readback_${name} INTERFACE "${PROJECT_SOURCE_DIR}")
    target_link_libraries(readback_${name} INTERFACE ${arg_DEPS} ${arg_LIBS})
    return()
  endif()
  add_library(readback_${name} STATIC ${sources})
  target_include_directories(readback_${name} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_compile_options(readback_${name} PRIVATE ${READBACK_WARNINGS})
  target_link_libraries(readback_${name} PUBLIC ${arg_DEPS} ${arg_LIBS})
  if(READBACK_SHARED AND NOT arg_PUBLIC)  # nobody outside sees into this folder
    set(archive $<TARGET_FILE:readback_${name}>)
    target_link_options(libreadback PRIVATE
      "LINKER:--whole-archive,${archive},--no-whole-archive,--exclude-libs,libreadback_${name}.a")
    set_property(TARGET libreadback APPEND PROPERTY LINK_DEPENDS ${archive})
  else()
    target_sources(libreadback PRIVATE $<TARGET_OBJECTS:readback_${name}>)
  endif()
  list(REMOVE_ITEM arg_LIBS fmt::fmt-header-only)  # nothing is left of it when our files are compiled
  target_link_libraries(libreadback PRIVATE ${arg_LIBS})
  if(arg_TORCH)
    target_link_libraries(readback_${name} PUBLIC LibTorch::LibTorch)
    if(TARGET readback_pch)
      target_precompile_headers(readback_${name} REUSE_FROM readback_pch)
    endif()
  endif()
endfunction()

# readback_test(text): tests/text/*_test.cpp -> program test_text; each of its suites is a ctest entry `text.SUITE` with
# the label `text`. Those that SLOW names have the label `slow` too.
function(readback_test name)
  cmake_parse_arguments(arg "TORCH" "" "DEPS;SOURCES;SLOW" ${ARGN})
  if(NOT arg_SOURCES)
    file(GLOB_RECURSE arg_SOURCES CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/${name}/*.cpp")
  endif()
  add_executable(test_${name} ${arg_SOURCES})
  # GCC 12 takes what it inlines of std::string for overflows.
  target_compile_options(test_${name} PRIVATE ${READBACK_WARNINGS} $<$<CXX_COMPILER_ID:GNU>:-Wno-array-bounds>)
  list(TRANSFORM arg_DEPS PREPEND readback_)
  # GTest's archive lacks standard templates such as std::string::swap. Were ours named first, the linker would take these
  # from any of our object files, and libtorch with it.
  target_link_libraries(test_${name} PRIVATE readback_test_main GTest::gtest stdc++ ${arg_DEPS})
  if(arg_TORCH)
    target_sources(test_${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests/far_device.cpp")
  endif()
  if(arg_TORCH AND TARGET readback_pch)
    target_precompile_headers(test_${name} REUSE_FROM readback_pch)
  endif()
  set(entries "${CMAKE_CURRENT_BINARY_DIR}/test_${name}.cmake")
  add_custom_command(TARGET test_${name} POST_BUILD VERBATIM COMMAND ${CMAKE_COMMAND} -D PROGRAM=$<TARGET_FILE:test_${name}>
    -D NAME=${name} -D "SLOW=${arg_SLOW}" -D FOLDER=${PROJECT_SOURCE_DIR} -D RESULTS=${PROJECT_BINARY_DIR}/test-results
    -D ENTRIES=${entries} -P "${PROJECT_SOURCE_DIR}/cmake/ListSuites.cmake")
  file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/test_${name}_or_not.cmake" @ONLY CONTENT [[
if(EXISTS "@entries@")
  include("@entries@")
else()
  add_test(@name@.NOT_BUILT "@name@.NOT_BUILT")
  set_tests_properties(@name@.NOT_BUILT PROPERTIES LABELS "@name@")
endif()
]])
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${CMAKE_CURRENT_BINARY_DIR}/test_${name}_or_not.cmake")
endfunction()
